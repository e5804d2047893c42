"""What the records of a vendor's API say that was not known yet. A record is no event: the same words again are no news."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.database import reading
from app.directory.settings import value_of
from app.directory.tables import Person, Source, Standing, Statement, StatementKind, Voice
from app.intake.described import description_of
from app.intake.description_types import Description, Event
from app.intake.hr import link, whom
from app.intake.hr_tables import HRPerson, HRSystem
from app.intake.vendor_api import NotConnected, VendorAPI
from app.intake.vendor_calls import Said, say
from app.intake.yaml_nodes import DescriptionError
from app.lifecycle import standing
from app.settings import Settings

OUT: Final = (Event.LEAVES_AT, Event.REVOKE_NOW, Event.ON_LEAVE)
AHEAD: Final = "|ahead"
"""Behind the digest of what was said for a day that was still to come."""


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """One source with all that is needed to read and ask it."""

    settings: Settings
    source: Source
    system: HRSystem
    description: Description
    time_zone: str

    def api(self) -> VendorAPI:
        """Raises NotConnected, KeyMissing."""
        return VendorAPI(self.settings, self.system, self.description, name=self.source.name)

    def record(self, row: dict[str, Any], *, at: datetime) -> Said:
        """What one record of the API says. Raises BadCall."""
        assert self.description.record is not None
        return say(self.description.record, row, time_zone=self.description.time_zone or self.time_zone, at=at)


def vendor_of(settings: Settings, organization_id: str, source_id: str) -> Vendor | None:
    """The HR system of a source; None where it has ended or has no description. Raises NotConnected where that can be read no more."""
    with reading() as session:
        source = session.get_one(Source, (organization_id, source_id))
        system = session.get(HRSystem, (organization_id, source_id))
        if system is None or source.ended_at is not None:
            return None
        time_zone = value_of(session, organization_id, "time_zone")
    try:
        description = description_of(system.description)
    except DescriptionError as error:
        raise NotConnected(f"the description of {source.name} cannot be read any more: {error}") from error
    return Vendor(settings=settings, source=source, system=system, description=description, time_zone=time_zone)


def known_by(session: Session, vendor: Vendor, keys: Iterable[str | None]) -> dict[str, HRPerson]:
    """Who is meant by these ids of the vendor, as far as that is known."""
    mine = select(HRPerson).where(
        HRPerson.organization_id == vendor.source.organization_id, HRPerson.source_id == vendor.source.id,
        HRPerson.key.in_([key for key in keys if key is not None]),
    )  # fmt: skip
    return {one.key: one for one in session.scalars(mine)}


def still_said(records: Sequence[Said], known: Mapping[str, HRPerson]) -> list[Said]:
    """What one person's records say, where one that named a day to come goes on saying so when that day has come.

    Many a vendor's own word turns hours later, or when somebody turns it: until then the record calls them active, as before. With a day of
    the past they are here only where they have been out by the record's own word since, or where no day was told before.
    """
    return [
        one.passed
        if one.event is Event.HERE and one.passed is not None and one.passed.event in OUT and _was_ahead(known.get(one.key or ""))
        else one
        for one in records
    ]


def _was_ahead(there: HRPerson | None) -> bool:
    return there is not None and there.said is not None and there.said.endswith(AHEAD)


def news_of(session: Session, vendor: Vendor, records: Sequence[Said], *, at: datetime) -> list[Said]:
    """What one person's records, as they are `still_said`, say that was not known. Their ids are linked on the way, where it is clear who is meant.

    *Here* brings nobody back by itself: the record of somebody whose access was revoked at once may well say so until their
    last day. It calls off what was announced for later; and where the record said before that they leave, it has changed its word.
    """
    _link_all(session, vendor, records, at=at)
    known = known_by(session, vendor, [one.key for one in records])
    if {one.said and one.said.removesuffix(AHEAD) for one in known.values()} == {digest_of(records)}:
        return []
    here = [one for one in records if one.event is Event.HERE]
    if not here:
        leaving = sorted((one for one in records if one.event in OUT), key=lambda one: one.at or at)
        if any(not one.engagement for one in leaving):
            # They may be of one engagement: the person is out when the last of them is.
            return [*_back_from_leave(session, vendor, leaving, known, at=at), replace(leaving[-1], engagement="")]
        # What ends last is said first, so that nobody is out for a moment who is here by it.
        return [*_back_from_leave(session, vendor, leaving, known, at=at), *leaving[::-1]] or [one for one in records if one.acts][-1:]
    if not known:
        return []
    person = _person_of(session, vendor, known)
    person_id = person.id
    if any(one.said is not None and one.said.partition("|")[0] in OUT for one in known.values()):
        # A notice that is taken back before its day is no new engagement: that would undo what others said meanwhile.
        out = person.standing == Standing.DEPARTED and _hr_had_out(session, person, at=at)
        event = Event.REHIRED if out else Event.CANCELLED
    elif person.standing == Standing.ACTIVE and _announced(session, vendor, person_id, at=at):
        event = Event.CANCELLED
    else:
        return []
    return [Said(event=event, key=here[0].key, number=here[0].number, email=here[0].email)]


def _back_from_leave(session: Session, vendor: Vendor, leaving: Sequence[Said], known: Mapping[str, HRPerson], *, at: datetime) -> list[Said]:
    """That a leave is over, where the records said that and name no more than a last day to come by now: neither puts off the other by itself."""
    to_come = bool(leaving) and all(one.event is Event.LEAVES_AT and one.at is not None and one.at > at for one in leaving)
    was_away = any((one.said or "").partition("|")[0] == Event.ON_LEAVE for one in known.values())
    if not (to_come and was_away and _person_of(session, vendor, known).standing == Standing.PAUSED):
        return []
    return [Said(event=Event.CANCELLED, key=leaving[0].key, number=leaving[0].number, email=leaving[0].email)]


def _person_of(session: Session, vendor: Vendor, known: Mapping[str, HRPerson]) -> Person:
    return session.get_one(Person, (vendor.source.organization_id, next(iter(known.values())).person_id))


def remember(session: Session, vendor: Vendor, records: Sequence[Said], *, at: datetime) -> None:
    """Keep that this is what the API said of them, so that it is no news again."""
    _link_all(session, vendor, records, at=at)
    known = known_by(session, vendor, [record.key for record in records])
    for key, said in kept_of(records).items():
        if key in known:
            known[key].said = said


def kept_of(records: Sequence[Said]) -> dict[str, str]:
    """What is kept of one person's records, for each id of the vendor."""
    digest = digest_of(records)
    ahead = {one.key for one in records if one.ahead}
    return {one.key: digest + (AHEAD if one.key in ahead else "") for one in records if one.key is not None}


def digest_of(records: Sequence[Said]) -> str:
    """The same for the same words about the same person, with what they come to in front."""
    if len(records) == 1:
        return records[0].digest
    out = [one for one in records if one.event in OUT]
    comes_to = out[0].event if len(out) == len(records) else Event.HERE
    return f"{comes_to}|{hashlib.sha256(json.dumps(sorted(one.digest for one in records)).encode()).hexdigest()}"


def _link_all(session: Session, vendor: Vendor, records: Sequence[Said], *, at: datetime) -> None:
    known = known_by(session, vendor, [one.key for one in records])
    for one in records:
        if one.key is None or one.key in known or one.number is None:
            continue
        person_id, _ = whom(session, vendor.source.organization_id, one.number, work_email=one.email)
        if person_id is not None:
            link(session, vendor.source, one.key, person_id, at=at)


def _hr_had_out(session: Session, person: Person, *, at: datetime) -> bool:
    """Whether this person would have left by HR's word alone. What the brake holds has not taken effect."""
    words = session.scalars(
        select(Statement).where(
            Statement.organization_id == person.organization_id, Statement.person_id == person.id, Statement.voice == Voice.HR,
            Statement.withdrawn_at.is_(None), Statement.held.is_(False),
        )
    )  # fmt: skip
    return standing.decide([], [standing.as_said(one) for one in words], now=at).standing is Standing.DEPARTED


def _announced(session: Session, vendor: Vendor, person_id: str, *, at: datetime) -> bool:
    said = select(Statement.id).where(
        Statement.organization_id == vendor.source.organization_id, Statement.person_id == person_id, Statement.voice == Voice.HR,
        Statement.said_by == vendor.source.name, Statement.effective_at > at, Statement.withdrawn_at.is_(None),
        Statement.kind.in_((StatementKind.LEAVES, StatementKind.PAUSES)),
    )  # fmt: skip
    return session.scalar(said.limit(1)) is not None
