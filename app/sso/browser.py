"""What a browser holds of ours: its session, the secret that ties a sign-in to it, and the provider it used last."""

import secrets
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from flask import Response, after_this_request, current_app, make_response, redirect, request
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from app.access import sessions
from app.access.closed import is_closed
from app.access.session_tables import WebSession
from app.access.sessions import Present
from app.clock import now
from app.database import in_transaction, reading
from app.settings import Settings
from app.sso import logins, pages
from app.sso.entering import Entered, replace_session
from app.sso.limits import idle_of
from app.sso.logins import local_path
from app.sso.refusal_words import words_for
from app.sso.refusals import Reason, Refused
from app.sso.refused_sign_ins import note_refusal

SESSION: Final = "doorlist_session"
PROVIDER: Final = "doorlist_provider"
REMEMBERED_FOR: Final = timedelta(days=180)
_GIVEN: Final = "doorlist.browser"
_STAYS_HERE: Final = frozenset({"/", "/access", "/devices-of-mine", "/device", "/session"})
"""Pages of ours that send nobody elsewhere."""


def settings_here() -> Settings:
    """The settings of the application that serves this request."""
    found: Settings = current_app.config["DOORLIST"]
    return found


def over_https() -> bool:
    """Whether people reach us by https; without it there is only a machine of one's own."""
    return settings_here().public_url.startswith("https:")


def cookie_name(name: str) -> str:
    """A cookie's full name. `__Host-` keeps neighbouring hosts from setting it (RFC 6265bis §4.1.3.2)."""
    return f"__Host-{name}" if over_https() else name


def browser_secret() -> str:
    """What only this browser holds, to tie a sign-in to it. A browser without one is given one with this answer.

    Somebody who comes back without it gets a new one, which fits no sign-in.
    """
    given: str | None = request.environ.get(_GIVEN)
    if given is not None:
        return given
    known = request.cookies.get(cookie_name(logins.COOKIE), "")
    kept = known if 20 <= len(known) <= 200 else secrets.token_urlsafe(32)
    request.environ[_GIVEN] = kept
    after_this_request(lambda response: _keep_browser(response, kept))
    return kept


def _keep_browser(response: AnyResponse, secret: str) -> AnyResponse:
    # Providers answer with a POST from their own pages: only a cookie that says None comes along with that, and only by
    # https may it. Without https there is a machine of one's own, where a cookie that says nothing comes along for two minutes.
    response.set_cookie(
        cookie_name(logins.COOKIE), secret, max_age=2 * logins.GOOD_FOR, path="/", httponly=True, secure=over_https(),
        samesite="None" if over_https() else None,
    )  # fmt: skip
    return response


def session_secret() -> str | None:
    """The session's cookie as this browser shows it, not checked."""
    return request.cookies.get(cookie_name(SESSION)) or None


def glance(at: datetime | None = None) -> Present | None:
    """Who is signed in at this browser, looked up anew; None where nobody is, or while nobody may be. Writes nothing."""
    secret = session_secret()
    if secret is None:
        return None
    with reading() as session:
        # A restored database may hold sessions of people who have left since.
        return None if is_closed(session) else sessions.check(session, secret, at=at or now())


def held(session: Session, at: datetime) -> WebSession | None:
    """The session whose cookie this browser shows, also one that has lapsed: whoever signs out, or in anew, leaves nothing of it behind."""
    secret = session_secret()
    return None if secret is None else sessions.held_by(session, secret, at=at)


def present(at: datetime | None = None) -> Present | None:
    """As `glance`, for a page that somebody uses: that moves the end of an idle session on, written at most once a minute."""
    at = at or now()
    here = glance(at)
    if here is None or here.idle_until >= here.expires_at:
        return here
    with reading() as session:
        idle = idle_of(session, here)
    if here.idle_until - at <= idle - sessions.USE_NOTED_EVERY:
        in_transaction(lambda session: sessions.note_use(session, here, idle=idle, at=at))
    return here


def comes_from_here() -> bool:
    """Whether a form was sent from a page of ours. Browsers say so themselves; those that say nothing are not believed."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    try:
        origin = urlsplit(request.headers.get("Origin", ""))
    except ValueError:
        return False
    return bool(origin.netloc) and origin.netloc in (urlsplit(settings_here().public_url).netloc, request.host)


def came_without_cookies() -> bool:
    """Whether this is another site's form, with which browsers do not send the session's cookie: that there is none says nothing yet."""
    return request.method == "POST" and session_secret() is None and not comes_from_here()


def keep_session(response: AnyResponse, secret: str) -> None:
    """Give the browser its session. No expiry: it goes when the browser is closed, and ends on our side in any case."""
    response.set_cookie(cookie_name(SESSION), secret, path="/", httponly=True, secure=over_https(), samesite="Lax")


def drop_session(response: AnyResponse) -> None:
    """Take the session's cookie from the browser."""
    response.delete_cookie(cookie_name(SESSION), path="/", httponly=True, secure=over_https(), samesite="Lax")


def respond_entered(entered: Entered) -> Response:
    """Send somebody who came in to where they wanted to go, with a new cookie; the session that this browser had is over."""
    response = make_response(redirect(local_path(entered.return_to), code=303))
    response.headers.update(pages.HEADERS)
    return _with_session(response, entered)


def respond_entered_by_form(entered: Entered) -> Response:
    """As `respond_entered`, after a form of ours: what leads on to an application, or to whatever stands behind /gate, is led to by a page."""
    to = local_path(entered.return_to)
    if urlsplit(to).path in _STAYS_HERE:
        return respond_entered(entered)
    return _with_session(pages.onward(to, to=urlsplit(settings_here().public_url).netloc), entered)


def _with_session(response: Response, entered: Entered) -> Response:
    if session_secret() not in (None, entered.cookie):
        at = now()

        def act(session: Session) -> None:
            had = held(session, at)
            if had is not None:
                has = session.get_one(WebSession, (entered.present.organization_id, entered.present.session_id))
                replace_session(session, had, has, at=at)

        in_transaction(act)
    keep_session(response, entered.cookie)
    if entered.present.connection_id is not None:
        remember_provider(response, entered.present.connection_id)
    return response


def respond_refused(error: Refused) -> Response:
    """A calm page with a reference number; the reason is in the log, and with the organisation, under the same number."""
    note_refusal(error, at=now())
    words = words_for(error.reason)
    anew = None
    if error.reason is Reason.SECOND_FACTOR and error.connection_id is not None:
        # Their provider still knows them: unless it has to ask them anew, it says at once the same of them again.
        anew = {"connection": error.connection_id, "fresh": "1", "to": local_path(error.return_to)}
    return pages.render("refused", status=words.status, heading=words.heading, sentence=words.sentence, reference=error.reference, anew=anew)


def remember_provider(response: AnyResponse, connection_id: str) -> None:
    """Remember on this device which provider was used last; nothing of who used it."""
    response.set_cookie(
        cookie_name(PROVIDER), connection_id, max_age=REMEMBERED_FOR, path="/", httponly=True, secure=over_https(), samesite="Lax"
    )


def remembered_provider() -> str | None:
    """The connection that this device used last. It is only a choice: nothing is let in by it."""
    return request.cookies.get(cookie_name(PROVIDER)) or None


def forget_provider(response: AnyResponse) -> None:
    response.delete_cookie(cookie_name(PROVIDER), path="/", httponly=True, secure=over_https(), samesite="Lax")
