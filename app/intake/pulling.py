"""Pulling a source: read, compare, ask for whoever is absent, weigh what would be taken, apply. The cursor moves with the last of it.

A pull that dies leaves what it has applied, each part whole, and a cursor that has not moved: the next one finds the rest again.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.access.sealing import unseal
from app.actors import CLOCK, Actor
from app.clock import Clock, now
from app.database import reading
from app.directory.settings import gone_after, value_of
from app.directory.tables import Source
from app.intake import mapping, mapping_kept, pull_weighing
from app.intake.mapping import UnusableMapping
from app.intake.pull_asking import due_keys
from app.intake.pull_reading import Mapped
from app.intake.pull_rehearsing import rehearse
from app.intake.pull_running import Outcome, Reader, Running
from app.intake.pull_state import PULLED, Due, NotPulled, TakenOver, UnderWay, due
from app.intake.pull_weighing import HeldPull
from app.lifecycle.pulled_entries import EntryKind
from app.lifecycle.pulled_tables import PulledEntry, SourceState
from app.lifecycle.sources import find_source, url_of
from app.settings import Settings
from connectors.contract import Misconfigured, Secret
from connectors.source_contract import Source as Opened
from connectors.source_contract import SourceSettings

__all__ = [
    "PATIENCE", "PULLED", "Due", "HeldPull", "NotPulled", "Opening", "Outcome", "Progress", "TakenOver", "UnderWay", "ask_again", "due",
    "missing_due", "open_source_of", "pull",
]  # fmt: skip

PATIENCE = 20.0
"""Seconds that an operator waits for whoever has the source: asking it again for a few people takes less, reading all of it often more."""
_LOOKS_EVERY = 0.1

Opening = Callable[[Settings, Source], Opened]
Progress = Callable[[str], None]
"""Told how far it is, in words."""


def silent(words: str) -> None:
    """Tell nobody how far it is."""


def open_source_of(settings: Settings, source: Source) -> Opened:
    """The connector of a pulled source. Raises KeyMissing, Misconfigured; speaks to nobody yet."""
    # Connectors bring large libraries along; whoever pulls nothing does not wait for them.
    from connectors.registry import open_source

    said = source.settings or {}
    secret = unseal(settings, source.sealed_secret) if source.sealed_secret is not None else ""
    options = {str(key): str(value) for key, value in (said.get("options") or {}).items()}
    url = url_of(source, settings=settings)
    return open_source(source.kind, SourceSettings(name=source.name, url=url, secret=Secret(secret), options=options))


def mapped_by(source: Source) -> Mapped:
    """What a source's people become before they are compared. Raises Misconfigured where the mapping can be used no more."""
    with reading() as session:
        try:
            compiled = mapping_kept.opened(session, source)
        except UnusableMapping as error:
            raise Misconfigured(f"{source.name}: its mapping cannot be used: {error}") from error
    if compiled is None:
        return lambda person: person
    kept = compiled
    return lambda person: mapping.apply(kept, person)


def pull(
    app_settings: Settings, organization_id: str, source_name: str, *,
    whole: bool = False, dry_run: bool = False, actor: Actor, clock: Clock = now, progress: Progress = silent, opening: Opening = open_source_of,
    patience: float = 0.0,
) -> Outcome:  # fmt: skip
    """Bring what is known of a source in line with what it says. Raises ConnectorError, KeyMissing, NotFound, NotPulled, UnderWay, TakenOver.

    With `dry_run` it says what would be done, and writes nothing. Where somebody else has the source it waits `patience` seconds.
    """
    with reading() as session:
        source = _pulled(session, organization_id, source_name)

    def tell(what: str, number: int) -> None:
        progress(f"{what}: {number}")

    if not dry_run:
        def begun() -> Outcome:
            running = Running(source, opening=lambda one: (opening(app_settings, one), mapped_by(one)), actor=actor, clock=clock, progress=tell)
            return running.pull(whole=whole)

        return _once_free(begun, f"{source_name} is in somebody else's hands: waiting", patience=patience, progress=progress)
    reader = Reader(
        source=source, opened=opening(app_settings, source), mapped=mapped_by(source), clock=clock, hold_on=lambda: None, progress=tell
    )
    with ExitStack() as stack:
        return rehearse(reader.read(stack, whole=whole), source, at=clock())


def _once_free(pull: Callable[[], Outcome], waiting: str, *, patience: float, progress: Progress) -> Outcome:
    until = time.monotonic() + patience
    told = False
    while True:
        try:
            # Whoever finds the source taken has not begun anything.
            return pull()
        except UnderWay:
            if time.monotonic() >= until:
                raise
        if not told:
            progress(waiting)
            told = True
        time.sleep(_LOOKS_EVERY)


def ask_again(
    app_settings: Settings, organization_id: str, source_name: str, *, clock: Clock = now, opening: Opening = open_source_of
) -> Outcome | None:
    """Ask a source for those whom it once answered are not there, as far as their second answer is due; None where nobody is.

    Raises what `pull` does.
    """
    with reading() as session:
        source = _pulled(session, organization_id, source_name)
        before = clock() - gone_after(value_of(session, organization_id, "gone_after"))
        state = session.get(SourceState, (organization_id, source.id))
        # What waits for a decision is asked for when that is made; and a source that cannot be read is first read again.
        waits = pull_weighing.open_held(session, source, unreadable=False) is not None or (state is not None and state.failures > 0)
    if waits or not any(due_keys(organization_id, source.id, kind, before=before) for kind in (EntryKind.PERSON, EntryKind.GROUP)):
        return None
    running = Running(
        source, opening=lambda one: (opening(app_settings, one), mapped_by(one)), actor=CLOCK, clock=clock, progress=lambda what, number: None
    )
    return running.ask_again()


def _pulled(session: Session, organization_id: str, name: str) -> Source:
    source = find_source(session, organization_id, name)
    if source.kind not in PULLED:
        raise NotPulled(f"{name} is not pulled: a source of kind {source.kind} speaks by itself")
    return source


def missing_due(session: Session, at: datetime) -> list[Due]:
    """Every source that has to be asked again for somebody."""
    rows = session.execute(
        select(Source.organization_id, Source.name, func.min(PulledEntry.missing_since, type_=PulledEntry.missing_since.type).label("since"))
        .join(PulledEntry, (PulledEntry.organization_id == Source.organization_id) & (PulledEntry.source_id == Source.id))
        .where(Source.kind.in_(PULLED), Source.ended_at.is_(None), PulledEntry.missing_since.is_not(None), PulledEntry.kept.is_(None))
        .group_by(Source.organization_id, Source.name)
    )
    return [
        Due(organization_id=row.organization_id, source_name=row.name)
        for row in rows
        if row.since <= at - gone_after(value_of(session, row.organization_id, "gone_after"))
    ]
