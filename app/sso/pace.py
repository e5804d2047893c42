"""How fast one may knock at the doors of sign-in: by address, and by the e-mail that is typed."""

from typing import Final

from flask import Response, current_app

from app.access.callers import address_of_caller
from app.access.rates import Buckets
from app.access.tokens import digest_of
from app.settings import Settings
from app.sso import pages

_ADDRESSES: Final = "doorlist_sign_in_addresses"
_EMAILS: Final = "doorlist_sign_in_emails"
AT_ONCE: Final = 30
"""How many seconds' worth may come at once: an office begins its day behind one address."""


def too_fast(*, email: str | None = None) -> Response | None:
    """A page that asks to wait, where this address or this e-mail knocks too often; None where it may go on. Takes one of each."""
    settings: Settings = current_app.config["DOORLIST"]
    if not settings.sign_in_rate:
        return None
    kept = current_app.extensions
    addresses: Buckets = kept.setdefault(_ADDRESSES, Buckets(rate=settings.sign_in_rate, burst=settings.sign_in_rate * AT_ONCE))
    wait = addresses.take(address_of_caller())
    if not wait and email is not None:
        emails: Buckets = kept.setdefault(_EMAILS, Buckets(rate=0.2, burst=10))
        wait = emails.take(digest_of(email.strip().casefold()))
    if not wait:
        return None
    seconds = max(1, int(wait + 0.999))
    response = pages.render("too_fast", status=429, seconds=seconds)
    response.headers["Retry-After"] = str(seconds)
    return response
