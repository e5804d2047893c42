"""What `doorlist doctor` does after a backup was restored: end what was issued, show who has yet to speak, open again."""

from base64 import urlsafe_b64decode
from datetime import datetime
from functools import partial
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.access import closed, keys
from app.access.closed_tables import Installation
from app.audit import notes
from app.audit.request_tables import RequestSeen
from app.audit.requests import first_id_at
from app.audit.stored import StoredTree, TreeBroken
from app.audit.tree import root_at
from app.audit.tree_tables import AuditTree
from app.clock import iso, now
from app.commands.acting import Acting
from app.commands.exits import CommandError, NotAllowed
from app.commands.offline import keys_from
from app.commands.output import Answer, Table
from app.database import in_transaction, reading
from app.intake.hr_tables import HRSystem
from app.intake.tables import HREvent
from app.lifecycle import restoring
from app.lifecycle.pulled_tables import SourceState
from app.lifecycle.restoring import Heard

_NEXT = (
    "1. Let departures go on meanwhile: doorlist serve. Nothing is given while it is closed.",
    "2. Have every directory push everything again (a full sync), and HR repeat its calls of that time under their old ids.",
    "   What is pulled: doorlist source pull NAME --full. An HR system that can be polled: doorlist hr poll NAME.",
    "3. Shut out whoever you know has left since: doorlist depart PERSON.",
    "4. See what would be given: doorlist plan.",
    "5. Then open: doorlist doctor --restored --sources-read.",
)


def end_what_was_issued(acting: Acting, *, checkpoint: str | None, keys_file: str | None) -> Answer:
    """Close; end every session, grant, token and device; show what a restored database cannot know."""
    _only_the_host(acting)
    missing = _missing(checkpoint, keys_file) if checkpoint is not None else None
    because = f"{acting.actor.name} says that it was restored from a backup"
    at = now()
    ended = in_transaction(lambda session: restoring.end_everything(session, actor=acting.actor, because=because, at=at))
    closed.look_again()
    with reading() as session:
        heard = _heard(session)
        operators = restoring.operators_then(session)
        counted = restoring.counted_then(session)
    columns = ("organization", "people", "sessions", "grants", "tokens", "devices", "codes")
    of_ended = [{name: getattr(one, name) for name in columns} for one in ended]
    return Answer(
        schema="doctor.restored",
        fields={
            "closed": True, "ended": of_ended, "sources": [_source(one) for one in heard], "checkpoint": missing,
            "operators": [{"organization": organization, "name": name, "role": role} for organization, name, role in operators],
            "counted": [{"organization": one.organization, "kind": one.kind, "name": one.name} for one in counted],
        },
        tables=[
            Table(columns=columns, rows=[[one[name] for name in columns] for one in of_ended]),
            _table(heard),
            Table(columns=("organization", "operator, as of the backup", "role"), rows=operators),
            Table(columns=("organization", "counts, as of the backup", "name"), rows=[(one.organization, one.kind, one.name) for one in counted]),
        ],
        notes=[
            *([] if missing is None else [str(missing["sentence"])]),
            "Closed. Everyone signs in anew once it is opened. What was ended or revoked after the backup, of all that is listed, is good again:",
            "end who is no operator any more (doorlist operator end), and give sources other tokens (doorlist source rotate) where one was revoked;",
            "end what had ended (doorlist connection, client, break-glass, signals transmitter, signals receiver: end), rotate what had been (doorlist client, keys).",
            "Break-glass accounts need other one-time codes (doorlist break-glass code): those of then may have been used since.",
            *_NEXT,
        ],
    )  # fmt: skip


def open_again(acting: Acting, *, anyway: bool) -> Answer:
    """The sources were read again: give as ever. Refused while one of them has said nothing since, unless `anyway`."""
    _only_the_host(acting)
    with reading() as session:
        row = session.get_one(Installation, closed.ONLY)
        heard = _heard(session)
        why = closed.why_closed(session)
    if why is None:
        return Answer(schema="doctor.opened", fields={"closed": False, "because": None, "sources": [_source(one) for one in heard]}, notes=["It is open."])
    if row.closed_at is None or row.restored_at is None or row.restored_at < row.closed_at:
        raise CommandError("what was issued before the backup has not been ended yet: doorlist doctor --restored")
    silent = [one for one in heard if not one.since_closed]
    if silent and not anyway:
        names = ", ".join(f"{one.name} ({one.kind})" for one in silent)
        raise CommandError(
            f"{names} said nothing since {iso(row.closed_at)}, so nobody knows who left there; have them say everything again (what is pulled: doorlist source pull NAME --full), or add --anyway",
            more={"sources": [_source(one) for one in heard]},
        )
    because = "the sources were read again" + (f", but for {', '.join(one.name for one in silent)}" if silent else "")
    return _opened(acting, heard, because=because)


def was_not_restored(acting: Acting) -> Answer:
    """Nothing was restored: open, and end nothing."""
    _only_the_host(acting)
    with reading() as session:
        heard = _heard(session)
    return _opened(acting, heard, because=f"{acting.actor.name} says that nothing was restored")


def _opened(acting: Acting, heard: list[Heard], *, because: str) -> Answer:
    kept = in_transaction(lambda session: restoring.open_again(session, acting.settings, actor=acting.actor, because=because, at=now()))
    closed.look_again()
    try:
        closed.keep(acting.settings, kept)
    except OSError as error:
        raise CommandError(f"opened, but a restored backup would not be noticed: {closed.generation_file(acting.settings)}: {error.strerror}") from error
    return Answer(
        schema="doctor.opened", fields={"closed": False, "because": because, "sources": [_source(one) for one in heard]}, tables=[_table(heard)],
        notes=[f"Open: {because}. Other processes see it within a second."],
    )  # fmt: skip


def _only_the_host(acting: Acting) -> None:
    # It ends everybody's sessions, those of other organisations too.
    if acting.settings.operator_token is not None:
        raise NotAllowed("this is for the whole installation: only whoever has the machine can do it, without DOORLIST_TOKEN")


def _heard(session: Session) -> list[Heard]:
    row = session.get_one(Installation, closed.ONLY)
    closed_at = row.closed_at or now()
    return restoring.heard_since(session, closed_at=closed_at, last_word=partial(_last_word, closed_at))


def _last_word(closed_at: datetime, session: Session, organization_id: str, source_id: str) -> datetime | None:
    """Of whoever left there it is heard by a request, a call, or by reading all there is; what changed since some day, or what came short, is not all."""
    pushed = (RequestSeen.source_id == source_id, RequestSeen.known, RequestSeen.id >= first_id_at(closed_at))
    said = (
        select(func.max(RequestSeen.at)).where(RequestSeen.organization_id == organization_id, *pushed),
        select(func.max(HREvent.received_at)).where(HREvent.organization_id == organization_id, HREvent.source_id == source_id),
        select(HRSystem.polled_at).where(HRSystem.organization_id == organization_id, HRSystem.source_id == source_id, HRSystem.last_error.is_(None)),
        select(SourceState.full_at).where(SourceState.organization_id == organization_id, SourceState.source_id == source_id),
    )
    return max((at for one in said if (at := session.scalar(one)) is not None), default=None)


def _source(one: Heard) -> dict[str, object]:
    return {"organization": one.organization, "name": one.name, "kind": one.kind, "last": iso(one.last_at), "since_closed": one.since_closed}


def _table(heard: list[Heard]) -> Table:
    columns = ("organization", "name", "kind", "last", "since_closed")
    return Table(columns=columns, rows=[[_source(one)[name] for name in columns] for one in heard])


def _missing(checkpoint: str, keys_file: str | None) -> dict[str, object]:
    """What a published checkpoint says of the database: how many entries it has lost. Raises CommandError where it is not one of ours."""
    with reading() as session:
        ours = [one.public for one in keys_from(Path(keys_file)).values()] if keys_file is not None else _own_keys(session)
        try:
            said = notes.opened(Path(checkpoint).read_text(encoding="utf-8", errors="replace"), ours)
        except notes.BadNote as error:
            raise CommandError(f"{checkpoint}: {error}", more={"hint": "give the keys of that time with --keys FILE"}) from error
        tree = session.scalar(select(AuditTree).where(AuditTree.origin == said.origin))
        if tree is None:
            raise CommandError(f"{checkpoint}: there is no audit of {said.origin} here")
        try:
            fits = said.size > tree.size or root_at(said.size, StoredTree(session, tree.organization_id)) == said.root
        except TreeBroken:
            # What is missing in the middle was taken out: no backup has a hole.
            fits = False
    lost = max(0, said.size - tree.size)
    if not fits:
        sentence = f"The database is no older state of what {said.origin} signed at {said.size} entries: it was altered."
    elif lost:
        sentence = f"{lost} entries are missing: {said.origin} had {said.size} when that was signed, and has {tree.size}."
    else:
        sentence = f"Nothing that was signed is missing: {said.origin} has {tree.size} entries, and had {said.size}."
    return {"origin": said.origin, "signed": said.size, "present": tree.size, "missing": lost, "altered": not fits, "sentence": sentence}


def _own_keys(session: Session) -> list[bytes]:
    # Whoever else has one that was withdrawn could have signed the file: who knows better says so with --keys.
    evidence = [one for one in keys.all_public(session) if one.get("purpose") == keys.Purpose.EVIDENCE and one["withdrawn"] is None]
    return [urlsafe_b64decode(f"{one['x']}==") for one in evidence if one.get("crv") == "Ed25519"]

