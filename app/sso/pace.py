"""How fast one may knock at the doors of sign-in: by address, and by the e-mail that is typed."""

import ipaddress
from typing import Final

from flask import Response, current_app, request

from app.access.rates import Buckets
from app.access.tokens import digest_of
from app.settings import Settings
from app.sso import pages

_ADDRESSES: Final = "doorlist_sign_in_addresses"
_EMAILS: Final = "doorlist_sign_in_emails"
AT_ONCE: Final = 30
"""How many seconds' worth may come at once: an office begins its day behind one address."""


def caller() -> str:
    """Whence a request comes, as far as our own proxies vouch for it. Of an IPv6 address the network: a single caller has all of it."""
    settings: Settings = current_app.config["DOORLIST"]
    address = request.remote_addr or ""
    if settings.proxies:
        passed = [one.strip() for one in ",".join(request.headers.getlist("X-Forwarded-For")).split(",") if one.strip()]
        # Whatever stands further to the left was written by the caller.
        address = passed[-settings.proxies] if len(passed) >= settings.proxies else address
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(known, ipaddress.IPv6Address):
        known = known.ipv4_mapped or ipaddress.ip_network((known, 64), strict=False).network_address
    return str(known)


def too_fast(*, email: str | None = None) -> Response | None:
    """A page that asks to wait, where this address or this e-mail knocks too often; None where it may go on. Takes one of each."""
    settings: Settings = current_app.config["DOORLIST"]
    if not settings.sign_in_rate:
        return None
    kept = current_app.extensions
    addresses: Buckets = kept.setdefault(_ADDRESSES, Buckets(rate=settings.sign_in_rate, burst=settings.sign_in_rate * AT_ONCE))
    wait = addresses.take(caller())
    if not wait and email is not None:
        emails: Buckets = kept.setdefault(_EMAILS, Buckets(rate=0.2, burst=10))
        wait = emails.take(digest_of(email.strip().casefold()))
    if not wait:
        return None
    seconds = max(1, int(wait + 0.999))
    response = pages.render("too_fast", status=429, seconds=seconds)
    response.headers["Retry-After"] = str(seconds)
    return response
