"""The authorization endpoint: who is signed in here gets a code for a client of their organisation; everybody else signs in first.

There is no page to consent on: which application an organisation's people may enter is for the organisation to say.
"""

from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from authlib.oauth2.rfc6749 import OAuth2Error
from authlib.oauth2.rfc6749.errors import AccessDeniedError, InvalidRequestError
from authlib.oidc.core.errors import LoginRequiredError, RequestNotSupportedError, RequestURINotSupportedError
from flask import Response, request
from sqlalchemy.orm import Session

from app.access import sessions
from app.access.sessions import Present
from app.clock import now
from app.database import in_transaction, reading
from app.sso.browser import came_without_cookies, present, respond_refused, settings_here
from app.sso.limits import idle_of
from app.sso.logins import LONGEST_PATH, local_path
from app.sso.oidc_checks import SKEW
from app.sso.provider.clients import Asked
from app.sso.provider.id_tokens import acr_values_of, how_of, read_hint
from app.sso.provider.server import NOT_KEPT, Server
from app.sso.refusals import Reason, Refused

SINCE: Final = "signed_in_since"
"""Put into the address to which somebody comes back from signing in anew, so that they are not sent away again.

Whoever takes it out or puts it in changes only what they themselves are asked; what was asked of them stands in the ID token.
"""
MEANT: Final = "doorlist_meant"
"""Put there likewise: the person whom the hint named. The hint itself, an ID token, goes into no further address."""
_KNOWN: Final = frozenset(
    {"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method", "prompt", "max_age", "acr_values", "login_hint", "response_mode"}
)  # fmt: skip


class UnmetAuthentication(OAuth2Error):  # type: ignore[misc]  # Authlib ships no types
    """OpenID Connect Core Unmet Authentication Requirements 1.0."""

    error = "unmet_authentication_requirements"


def authorize() -> Response:
    """GET or POST /authorize (OpenID Connect Core §3.1.2.1)."""
    at, settings = now(), settings_here()
    try:
        asked = Asked(request, public_url=settings.public_url, in_form=False)
        known = asked.payload.data.get("client_id", "")
    except InvalidRequestError as error:
        return _page(error)
    here = present(at)
    with reading() as session:
        server = Server(session, settings, at=at, present=here)
        try:
            grant = server.get_consent_grant(asked, end_user=here)
            _check(grant.redirect_uri, asked)
        except OAuth2Error as error:
            return server.refuse(asked, error) if error.redirect_uri else _page(error, client_id=known)
        except ValueError:
            # Authlib cannot say back what has characters that no error may have.
            return _page(InvalidRequestError("a parameter holds characters that do not belong there"), client_id=known)
        try:
            onward = _needs_sign_in(session, asked, here, grant.redirect_uri, at=at)
        except OAuth2Error as error:
            error.state = asked.payload.state
            return server.refuse(asked, error)
        organization_id = grant.request.client.party.organization_id
    if onward is not None:
        return onward
    if here is None:
        raise RuntimeError("nobody is signed in, and nobody was sent to sign in")
    if here.organization_id != organization_id:
        # As for somebody whom the organisation does not know: neither learns that the other is here.
        denied = AccessDeniedError(
            "who is signed in may not enter this application", redirect_uri=grant.redirect_uri, state=asked.payload.state
        )
        return server.refuse(asked, denied)
    return in_transaction(lambda inside: _give(inside, asked, here, at=at))


def _give(session: Session, asked: Asked, here: Present, *, at: datetime) -> Response:
    server = Server(session, settings_here(), at=at, present=here)
    try:
        grant = server.get_consent_grant(asked, end_user=here)
    except OAuth2Error as error:
        return server.refuse(asked, error) if error.redirect_uri else _page(error)
    sessions.note_use(session, here, idle=idle_of(session, here), at=at)
    answer: Response = server.create_authorization_response(asked, grant_user=here, grant=grant)
    return answer


def _check(redirect_uri: str, asked: Asked) -> None:
    """What Authlib leaves to us. Raises OAuth2Error, with the redirect URI that was found good."""
    sent = asked.payload.data
    faults: list[tuple[bool, type[OAuth2Error], str]] = [
        ("request" in sent, RequestNotSupportedError, "request objects are not taken"),
        ("request_uri" in sent, RequestURINotSupportedError, "request objects are not taken"),
        (sent.get("response_mode", "query") != "query", InvalidRequestError, "the only response mode is query"),
        ("none" in _prompts(sent) and len(_prompts(sent)) > 1, InvalidRequestError, "prompt none stands alone"),
        ("max_age" in sent and _seconds(sent["max_age"]) is None, InvalidRequestError, "max_age is a whole number of seconds"),
    ]
    for wrong, kind, words in faults:
        if wrong:
            raise kind(words, redirect_uri=redirect_uri, state=asked.payload.state)


def _needs_sign_in(session: Session, asked: Asked, here: Present | None, redirect_uri: str, *, at: datetime) -> Response | None:
    """Where the browser goes first, if anywhere. Raises OAuth2Error where nobody may be asked, or was asked in vain."""
    sent = asked.payload.data
    silent = "none" in _prompts(sent)
    oldest, wanted, meant = _seconds(sent.get("max_age", "")), acr_values_of(sent), _meant(session, sent, at=at)
    anew = bool({"login", "select_account"} & set(_prompts(sent)))
    if here is None:
        if silent and came_without_cookies():
            return _onto(_address(asked, redirect_uri, meant=meant))
        if silent:
            raise LoginRequiredError(redirect_uri=redirect_uri)
        # Asked for at once as it is wanted, so that nobody has to do it twice.
        once = anew or oldest is not None or bool(wanted) or meant is not None
        return _sign_in(asked, redirect_uri, at=at, fresh=anew or oldest == 0, once=once, meant=meant)
    since = _seconds(sent.get(SINCE, ""))
    asked_already = since is not None and since <= at.timestamp() and _signed_in_since(here, since)
    too_old = oldest is not None and here.authenticated_at < at - timedelta(seconds=oldest)
    met = not wanted or how_of(here, wanted)["acr"] in wanted or any(one in here.amr for one in wanted)
    another = meant not in (None, here.person_id)
    if asked_already:
        if another:
            raise LoginRequiredError(redirect_uri=redirect_uri)
        if not met:
            raise UnmetAuthentication("the identity provider did not authenticate as it was asked to", redirect_uri=redirect_uri)
        return None
    if not (too_old or anew or another or not met):
        return None
    if silent:
        raise LoginRequiredError(redirect_uri=redirect_uri)
    return _sign_in(asked, redirect_uri, at=at, fresh=True, once=True, meant=meant)


def _meant(session: Session, sent: dict[str, Any], *, at: datetime) -> str | None:
    """Whom the client's hint names, an ID token of ours (OpenID Connect Core §3.1.2.1): it wants nobody but them."""
    if MEANT in sent:
        return str(sent[MEANT])
    hint = read_hint(session, settings_here(), sent["id_token_hint"], at=at) if "id_token_hint" in sent else None
    return None if hint is None else str(hint["sub"])


def _signed_in_since(here: Present, since: int) -> bool:
    """Whether somebody signed in here since then, by a proof that is not older: as far as the provider's clock can be told from ours.

    The instant stands in the address in whole seconds.
    """
    return here.created_at.timestamp() >= since and here.authenticated_at.timestamp() >= since - SKEW.total_seconds()


def _sign_in(asked: Asked, redirect_uri: str, *, at: datetime, fresh: bool, once: bool, meant: str | None) -> Response:
    """To sign in, and back to here with the same wishes; `once` so that they are not sent away again after that. Raises OAuth2Error."""
    sent = asked.payload.data
    query = {"to": _address(asked, redirect_uri, meant=meant, since=at if once else None), **({"again": "1"} if fresh else {})}
    if "acr_values" in sent:
        query["acr_values"] = sent["acr_values"]
    if "login_hint" in sent:
        query["email"] = sent["login_hint"]
    return _onto(f"/sign-in?{urlencode(query)}")


def _address(asked: Asked, redirect_uri: str, *, meant: str | None, since: datetime | None = None) -> str:
    """Where the same is asked once more, by GET. Raises OAuth2Error."""
    sent = {name: value for name, value in asked.payload.data.items() if name in _KNOWN}
    back: dict[str, str] = {
        **sent, **({SINCE: str(int(since.timestamp()))} if since is not None else {}), **({MEANT: meant} if meant is not None else {})
    }  # fmt: skip
    address = f"/authorize?{urlencode(back)}"
    if local_path(address) != address:
        raise InvalidRequestError(f"the request is longer than {LONGEST_PATH} characters, and nobody is signed in yet", redirect_uri=redirect_uri)
    return address


def _onto(address: str) -> Response:
    return Response(status=303, headers={**NOT_KEPT, "Location": address, "Referrer-Policy": "no-referrer"})


def _prompts(sent: dict[str, Any]) -> list[str]:
    return str(sent.get("prompt", "")).split()


def _seconds(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def _page(error: OAuth2Error, *, client_id: str = "") -> Response:
    """For the person at the browser: whoever sent them here made a mistake, and they are sent nowhere."""
    return respond_refused(Refused(Reason.BAD_REQUEST, f"authorization request of client {client_id[:40]!r}: {error.error}: {error.get_error_description()}"))
