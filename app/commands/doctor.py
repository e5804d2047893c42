"""The verb that looks for what is wrong: here, in the database, and in each workspace."""

import os
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import click
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import schema
from app.access import closed
from app.access.clients import WayIn, expiry_of, still_used, to_renew, ways_in
from app.access.closed import why_closed
from app.access.sealing import KeyMissing, seal
from app.access.tables import Workspace, WorkspaceState
from app.clock import iso, now
from app.command_lines import to_type
from app.commands.acting import ANYONE, Acting, verb
from app.commands.exits import Exit
from app.commands.output import Answer, Table
from app.commands.restored import end_what_was_issued, open_again, was_not_restored
from app.database import db, reading
from app.delivery.own_rooms import check_with_rooms
from app.delivery.workspaces import open_workspace
from app.directory.name_parts import is_indexed
from app.directory.settings import unusable_settings
from app.directory.tables import Person, Source
from app.lifecycle.alarm_routes import routes_of, shown
from app.lifecycle.sources import secrets_of
from app.lifecycle.workspaces import workspaces_of
from app.revocation.alarm_tables import Alarm, AlarmRoute, RouteKind
from app.revocation.alarms import not_taken, open_alarms
from app.rules.cycles import manager_cycles
from app.rules.revisions import current_revision
from connectors.contract import ConnectorError, Unreachable

LEAST_FREE = 200 * 1024 * 1024
CLOCKS_AGREE = timedelta(seconds=5)

_root = click.Group()


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(doctor)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`level` is ok, note or fault; a fault keeps Doorlist from doing its work."""

    about: str
    level: str
    sentence: str


@verb(_root, "doctor", may=ANYONE)
@click.option("--restored", is_flag=True, help="A backup was restored: close, and end every session, grant, token, device and one-time code.")
@click.option("--sources-read", is_flag=True, help="With --restored: the sources have said everything again, so open.")
@click.option("--anyway", is_flag=True, help="With --sources-read: open though a source has been silent since.")
@click.option("--not-restored", is_flag=True, help="Nothing was restored: open, and end nothing.")
@click.option("--checkpoint", metavar="FILE", type=click.Path(exists=True, dir_okay=False), help="With --restored: a published checkpoint, to see what is missing.")
@click.option("--keys", "keys_file", metavar="FILE", type=click.Path(exists=True, dir_okay=False), help="The keys it was signed with, where they are younger than the backup, or withdrawn.")
def doctor(
    acting: Acting, restored: bool, sources_read: bool, anyway: bool, not_restored: bool, checkpoint: str | None, keys_file: str | None
) -> Answer:
    """Look for what is wrong or leaks by configuration: here, in the database, in each workspace. Writes nothing by itself."""
    if ((sources_read or checkpoint is not None) and not restored) or (anyway and not sources_read) or (restored and not_restored):
        raise click.UsageError("--sources-read and --checkpoint go with --restored, --anyway with --sources-read, and --not-restored with none of them")
    if (keys_file is not None and checkpoint is None) or (checkpoint is not None and sources_read):
        raise click.UsageError("--keys goes with --checkpoint, and --checkpoint with --restored alone")
    if not_restored:
        return was_not_restored(acting)
    if restored:
        return open_again(acting, anyway=anyway) if sources_read else end_what_was_issued(acting, checkpoint=checkpoint, keys_file=keys_file)
    return _look(acting)


def _look(acting: Acting) -> Answer:
    with reading() as session:
        why = why_closed(session)
        routes = routes_of(session, acting.organization_id)
        unanswered = open_alarms(session, acting.organization_id)
        untaken = not_taken(session, acting.organization_id)
        workspaces = list(workspaces_of(session, acting.organization_id))
        rings = [[session.get_one(Person, (acting.organization_id, one)).user_name for one in ring] for ring in manager_cycles(session, acting.organization_id)]
        sources = session.scalars(select(Source).where(Source.organization_id == acting.organization_id, Source.ended_at.is_(None))).all()
        ways = ways_in(session, acting.organization_id)
        revision = current_revision(session, acting.organization_id)
        indexed = is_indexed(session)
        clocks = list(_of_clocks(session, acting.organization_id, at=now()))
        settings = list(_of_settings(session, acting.organization_id))
    findings = [*_of_doors(acting, why), *_of_alarms(acting, list(routes), list(unanswered)), *(Finding(about="alarms", level="fault", sentence=f"{shown(address)} did not take {count}: {why}") for address, count, why in untaken), *_of_machine(acting), *clocks, *settings, *_of_index(acting, indexed), *_of_sources(acting, list(sources)), *_of_ways(ways), *(one for each in workspaces for one in _of_workspace(each))]
    if revision is None:
        findings.append(Finding(about="rules", level="note", sentence="no rules are in force: doorlist rules apply FILE"))
    findings += [
        Finding(about="people", level="note", sentence=f"{' manages '.join(reversed([*ring, ring[0]]))}: a ring in the manager line, not followed")
        for ring in rings
    ]
    faults = [one for one in findings if one.level == "fault"]
    unreachable = [one for one in faults if one.sentence.startswith(_UNREACHABLE)]
    return Answer(
        schema="doctor",
        fields={
            "findings": [{"about": one.about, "level": one.level, "sentence": one.sentence} for one in findings], "faults": len(faults),
        },
        tables=[Table(columns=("about", "level", "finding"), rows=[(one.about, one.level, one.sentence) for one in findings])],
        exit=Exit.DONE if not faults else Exit.UNREACHABLE if len(unreachable) == len(faults) else Exit.ERROR,
    )  # fmt: skip


_UNREACHABLE = "does not answer"
_ADD_PG_TRGM = (
    "CREATE EXTENSION pg_trgm; CREATE INDEX CONCURRENTLY ix_record_name_part ON record USING gin (user_name_key gin_trgm_ops) WHERE ended_at IS NULL"
)
_ADD_FTS5 = "run Doorlist on a Python whose SQLite has FTS5 (3.34 or later); the worker then makes the index"


def _of_machine(acting: Acting) -> Iterator[Finding]:
    settings = acting.settings
    with reading() as session:
        wrong = schema.takes_none(session) or schema.damage()
    if wrong is None:
        yield Finding(about="database", level="ok", sentence="answers, and has the present schema")
    else:
        yield Finding(about="database", level="fault", sentence=wrong)
    try:
        seal(settings, "probe")
    except KeyMissing as error:
        yield Finding(about="encryption key", level="fault", sentence=str(error))
    else:
        yield Finding(about="encryption key", level="ok", sentence="is there")
    key = settings.home / "encryption.key"
    if key.exists() and key.stat().st_mode & 0o077 and os.name == "posix":
        yield Finding(about="encryption key", level="fault", sentence=f"others on this machine can read {key}: chmod 600 {shlex.quote(str(key))}")
    file = Path(db.engine.url.database or "") if db.engine.dialect.name == "sqlite" else None
    if file is not None and file.is_file() and file.stat().st_mode & 0o004 and file.parent.stat().st_mode & 0o001:
        # Its -wal and -shm are as it is.
        yield Finding(about="database", level="note", sentence=f"others on this machine can read {file}: chmod o= {shlex.quote(str(file))}*")
    if settings.home.exists() and (free := shutil.disk_usage(settings.home).free) < LEAST_FREE:
        yield Finding(about="disk", level="fault", sentence=f"{free // 2**20} MB are free in {settings.home}")
    if settings.public_url.startswith("http://127.0.0.1"):
        yield Finding(about="links", level="note", sentence=f"links say {settings.public_url}, which no other machine reaches: set DOORLIST_PUBLIC_URL")


def _of_clocks(session: Session, organization_id: str, *, at: datetime) -> Iterator[Finding]:
    """Whether the database's clock and this one agree, and whether anything was written at an instant that has yet to come."""
    if session.get_bind().dialect.name == "postgresql":
        apart = session.scalars(select(func.clock_timestamp())).one() - at
        if abs(apart) > CLOCKS_AGREE:
            way = "ahead of" if apart > timedelta() else "behind"
            sentence = f"the database's is {abs(apart) / timedelta(seconds=1):.0f} s {way} this machine's: one of them is wrong, and last days come by clocks"
            yield Finding(about="clocks", level="note", sentence=sentence)
    changed = select(func.count(), func.max(Person.modified_at)).where(Person.organization_id == organization_id, Person.modified_at > at + CLOCKS_AGREE)
    people, last = session.execute(changed).one()
    if people:
        who = "1 person was" if people == 1 else f"{people:,} people were"
        sentence = (
            f"{who} changed by one that was ahead, or this one is behind: until {iso(last)} what is announced for them counts as if its day "
            "had come. Who is out by mistake: doorlist reinstate PERSON --reason TEXT"
        )
        yield Finding(about="clocks", level="note", sentence=sentence)


def _of_settings(session: Session, organization_id: str) -> Iterator[Finding]:
    for key, why in unusable_settings(session, organization_id).items():
        yield Finding(about="settings", level="fault", sentence=f"one cannot be read: {why}; mend it: doorlist settings set {key} VALUE")


def _of_doors(acting: Acting, why: str | None) -> Iterator[Finding]:
    """Whether it is closed, and whether a restored backup would be noticed."""
    if why is not None:
        yield Finding(about="doors", level="fault", sentence=f"closed, nobody is given anything: {why}; see 'Restoring a backup' in docs/operations.md")
    kept = closed.generation_file(acting.settings)
    if not os.access(kept if kept.exists() else kept.parent, os.W_OK):
        yield Finding(about="doors", level="note", sentence=f"a restored backup would not be noticed: {kept} cannot be written (DOORLIST_GENERATION_FILE)")


def _of_alarms(acting: Acting, routes: list[AlarmRoute], unanswered: list[Alarm]) -> Iterator[Finding]:
    if not any(not one.escalation for one in routes):
        yield Finding(about="alarms", level="note", sentence="nobody is told of them: doorlist alarms route add mail ADDRESS")
    if any(one.kind == RouteKind.MAIL for one in routes) and acting.settings.smtp_url is None:
        yield Finding(about="alarms", level="fault", sentence="they are to go by mail, and no mail server is set: DOORLIST_SMTP_URL")
    if unanswered:
        yield Finding(about="alarms", level="note", sentence=f"{len(unanswered)} are open: doorlist alarms list")


def _of_index(acting: Acting, indexed: bool) -> Iterator[Finding]:
    if not indexed:
        add = _ADD_FTS5 if acting.settings.database_url.startswith("sqlite") else _ADD_PG_TRGM
        yield Finding(about="database", level="note", sentence=f"looks at every user to find part of a userName: {add}")


def _of_sources(acting: Acting, sources: list[Source]) -> Iterator[Finding]:
    if not sources:
        yield Finding(about="sources", level="note", sentence="nobody tells us of people yet: doorlist source add scim NAME")
    for one in sources:
        if one.kind != "hr":
            continue
        try:
            good = secrets_of(one, settings=acting.settings)
        except KeyMissing as error:
            yield Finding(about=one.name, level="fault", sentence=str(error))
        else:
            if not good:
                yield Finding(about=one.name, level="note", sentence=f"its secret was revoked: {to_type('source rotate', one.name)}")


def _of_ways(ways: list[WayIn]) -> Iterator[Finding]:
    at = now()
    for one in ways:
        if one.shut:
            yield Finding(about=one.source_name, level="note", sentence=f"it was revoked and can say nothing: {to_renew(one.way, one.source_name)}")
        if (said := expiry_of(one, at=at)) is not None:
            expired = one.keys[0].expires_at is not None and one.keys[0].expires_at <= at
            yield Finding(about=one.source_name, level="fault" if expired else "note", sentence=said)
        if (said := still_used(one, at=at)) is not None:
            yield Finding(about=one.source_name, level="note", sentence=said)


def _of_workspace(one: Workspace) -> Iterator[Finding]:
    if one.state == WorkspaceState.HALTED:
        yield Finding(about=one.name, level="fault", sentence=f"is halted: {one.halted_reason}; then: {to_type('workspace resume', one.name)}")
    try:
        found = check_with_rooms(open_workspace(one), one.organization_id, one.id)
    except Unreachable as error:
        yield Finding(about=one.name, level="fault", sentence=f"{_UNREACHABLE}: {error}")
    except (ConnectorError, KeyMissing) as error:
        yield Finding(about=one.name, level="fault", sentence=str(error))
    else:
        yield Finding(about=one.name, level="ok", sentence=f"answers, version {found.version}")
        for problem in found.problems:
            yield Finding(about=one.name, level="note", sentence=problem)
