"""/logout: an application asks to sign its user out (OpenID Connect RP-Initiated Logout 1.0)."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from flask import Response, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access import sessions
from app.access.parties import find_party
from app.access.session_tables import Grant, WebSession
from app.actors import Actor, ActorKind
from app.clock import now
from app.database import in_transaction, reading
from app.journal import entries
from app.journal.tables import Lane
from app.revocation.telling import tell_parties
from app.sso import pages
from app.sso.browser import came_without_cookies, comes_from_here, drop_session, held, present, settings_here
from app.sso.provider.id_tokens import read_hint
from app.sso.provider.server import NOT_KEPT

_FIELDS: Final = ("id_token_hint", "client_id", "post_logout_redirect_uri", "state")


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """What an application asks, as far as it was found true: whom it means, and where the browser may go afterwards."""

    hint: dict[str, Any] | None
    back: str | None
    name: str = ""


def logout() -> Response:
    """GET and POST /logout. Whoever is meant by a good hint is signed out at once; everybody else is asked."""
    sent = {name: request.values[name] for name in _FIELDS if request.values.get(name)}
    if came_without_cookies():
        # By GET they come along, and only then is it known who is to be signed out.
        return _onto(f"/logout?{urlencode(sent)}")
    who = present()
    with reading() as session:
        here, wish = held(session, now()), _wish(session, sent)
        sure = here is not None and wish.hint is not None and _means(session, wish.hint, here)
    if here is None:
        return _gone(wish, after_form=request.method == "POST")
    answered = request.method == "POST" and request.form.get("answer") == "yes"
    if answered and not comes_from_here():
        return pages.render("wrong", status=403)
    if not sure and not answered:
        return pages.render("sign_out_here", done=False, name=None if who is None else who.display_name, kept=sent)
    in_transaction(lambda session: _end(session, here))
    answer = _gone(wish, after_form=answered)
    drop_session(answer)
    return answer


def _end(session: Session, here: WebSession) -> None:
    at = now()
    entry = entries.write(
        session, here.organization_id, at=at, actor=Actor(kind=ActorKind.PERSON, name=here.person_id), verb="signed out",
        because="an application asked", subject_kind="person", subject_id=here.person_id, after={"session": here.id},
    )  # fmt: skip
    sessions.end(session, here.organization_id, here.id, why="signed out", at=at)
    tell_parties(session, here.organization_id, here.person_id, because=entry, at=at, lane=Lane.DEPARTURES)


def _wish(session: Session, sent: dict[str, str]) -> _Wish:
    hint = None
    if "id_token_hint" in sent:
        hint = read_hint(session, settings_here(), sent["id_token_hint"], at=now())
    client_id = sent.get("client_id") or (hint["aud"] if hint is not None else "")
    if hint is not None and hint["aud"] != client_id:
        hint = None
    party = find_party(session, client_id)
    uri = sent.get("post_logout_redirect_uri")
    # Letter by letter, and only for a client that was named (RP-Initiated Logout §3).
    if party is None or uri is None or uri not in party.post_logout_redirect_uris:
        return _Wish(hint=hint, back=None)
    state = {"state": sent["state"]} if "state" in sent else {}
    more = ("&" if urlsplit(uri).query else "?") + urlencode(state) if state else ""
    return _Wish(hint=hint, back=uri + more, name=party.name)


def _means(session: Session, hint: dict[str, Any], here: WebSession) -> bool:
    """Whether the hint is of this very session: else a link with an old token of somebody's could sign them out."""
    if hint["sub"] != here.person_id:
        return False
    grant = session.scalar(
        select(Grant.id)
        .where(
            Grant.organization_id == here.organization_id, Grant.session_id == here.id, Grant.client_id == hint["aud"], Grant.sid == hint["sid"]
        )
        .limit(1)
    )  # fmt: skip
    return grant is not None


def _gone(wish: _Wish, *, after_form: bool) -> Response:
    if wish.back is None:
        return pages.render("sign_out_here", done=True)
    if after_form:
        # A form of ours may lead nowhere else, says our policy; so a page does.
        return pages.onward(wish.back, to=wish.name)
    return _onto(wish.back)


def _onto(url: str) -> Response:
    return Response(status=303, headers={**NOT_KEPT, "Location": url, "Referrer-Policy": "no-referrer"})
