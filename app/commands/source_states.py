"""What is known of a directory that is pulled: its turns, its lag, and how the last pull went."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.directory.tables import Source
from app.lifecycle.pulled_tables import SourceState


def schedule(one: Source, state: SourceState | None) -> dict[str, object]:
    """When it is read, and how far behind it may be."""
    said = one.settings or {}
    pulled_at = state.pulled_at if state is not None else None
    return {
        "every": said.get("every"), "full_every": said.get("full_every"), "pulled_at": iso(pulled_at),
        "full_at": iso(state.full_at) if state is not None else None, "next_at": iso(state.next_at) if state is not None else None,
        "lag_seconds": round((now() - pulled_at).total_seconds(), 1) if pulled_at is not None else None,
        "problem": state.problem if state is not None else None, "last_milliseconds": state.milliseconds if state is not None else None,
    }  # fmt: skip


def states_of(session: Session, organization_id: str) -> dict[str, dict[str, object]]:
    """By source: its schedule, its lag and how the last pull went. Of those that are pulled alone."""
    found = session.execute(
        select(Source, SourceState)
        .outerjoin(SourceState, (SourceState.organization_id == Source.organization_id) & (SourceState.source_id == Source.id))
        .where(Source.organization_id == organization_id, Source.ended_at.is_(None), Source.settings.is_not(None))
    )
    return {one.id: schedule(one, state) for one, state in found if (one.settings or {}).get("url")}
