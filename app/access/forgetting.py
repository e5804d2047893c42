"""Sign-ins that are long over are forgotten: sessions, and what applications had through them. When somebody last signed in is kept."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Row, delete, exists, func, select
from sqlalchemy.orm import Session

from app.access.session_tables import Grant, IssuedToken, LastSignIn, WebSession
from app.journal.work import insert_for

AT_ONCE: Final = 500
"""Sessions, and grants without one, that one short transaction forgets."""
_QUIET: Final = {"synchronize_session": False}


def forget(session: Session, *, before: datetime, at: datetime) -> bool:
    """Forget some of what ran out before that; whether there may be more. Nothing goes on which a grant rests that still holds."""
    # Those whom another process is just forgetting are left to it.
    holds = exists().where(Grant.organization_id == WebSession.organization_id, Grant.session_id == WebSession.id, Grant.expires_at > at)
    browsers = session.execute(
        select(WebSession.organization_id, WebSession.id, WebSession.person_id, WebSession.created_at)
        .where(WebSession.expires_at <= before, ~holds)
        .order_by(WebSession.expires_at)
        .limit(AT_ONCE)
        .with_for_update(of=WebSession, skip_locked=True)
    ).all()
    _keep_the_last(session, browsers)
    alone = session.execute(
        select(Grant.organization_id, Grant.id)
        .where(Grant.expires_at <= before)
        .order_by(Grant.expires_at)
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True)
    ).all()
    for organization_id in sorted({one.organization_id for one in (*browsers, *alone)}):
        gone, over = ([one.id for one in rows if one.organization_id == organization_id] for rows in (browsers, alone))
        _delete(session, organization_id, gone, over)
    return AT_ONCE in (len(browsers), len(alone))


def _delete(session: Session, organization_id: str, session_ids: Sequence[str], grant_ids: Sequence[str]) -> None:
    through_them = session.scalars(select(Grant.id).where(Grant.organization_id == organization_id, Grant.session_id.in_(session_ids))).all()
    grants = {*grant_ids, *through_them}
    for statement in (
        delete(IssuedToken).where(IssuedToken.organization_id == organization_id, IssuedToken.grant_id.in_(grants)),
        delete(Grant).where(Grant.organization_id == organization_id, Grant.id.in_(grants)),
        delete(WebSession).where(WebSession.organization_id == organization_id, WebSession.id.in_(session_ids)),
    ):
        session.execute(statement, execution_options=_QUIET)


def _keep_the_last(session: Session, browsers: Sequence[Row[str, str, str, datetime]]) -> None:
    last: dict[tuple[str, str], datetime] = {}
    for one in browsers:
        key = (one.organization_id, one.person_id)
        last[key] = max(one.created_at, last.get(key, one.created_at))
    if not last:
        return
    # In the order of people, as all who write of several.
    rows = insert_for(session.get_bind().dialect.name)(LastSignIn).values([{"organization_id": key[0], "person_id": key[1], "at": at} for key, at in sorted(last.items())])
    newer = rows.on_conflict_do_update(index_elements=["organization_id", "person_id"], set_={"at": rows.excluded.at}, where=LastSignIn.at < rows.excluded.at)
    session.execute(newer, execution_options=_QUIET)


def last_sign_ins(session: Session, organization_id: str, person_ids: Sequence[str]) -> dict[str, datetime]:
    """When each of them last signed in, as far as they ever did: to Doorlist, or through it to a workspace."""
    found: dict[str, datetime] = {}
    kept = select(LastSignIn.person_id, LastSignIn.at).where(LastSignIn.organization_id == organization_id, LastSignIn.person_id.in_(person_ids))
    there = (
        select(WebSession.person_id, func.max(WebSession.created_at, type_=WebSession.created_at.type))
        .where(WebSession.organization_id == organization_id, WebSession.person_id.in_(person_ids))
        .group_by(WebSession.person_id)
    )
    for query in (kept, there):
        for person_id, at in session.execute(query):
            found[person_id] = max(at, found.get(person_id, at))
    return found
