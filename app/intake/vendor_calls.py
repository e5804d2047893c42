"""A call, or a record of a vendor's API, read by its description: who is meant, what is said of them, and when it takes effect. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any, Final
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.access.signed_tokens import BadToken
from app.clock import parse_instant
from app.intake.description_types import SHIPPED, BodyForm, Description, Event, Meaning, Moment, Place, Reading, Rule
from app.intake.hr import DATE, BadCall
from app.intake.places import NOTHING_AROUND, Around, fits, text_at
from app.intake.public_keys import claims_of
from app.intake.schemes import MILLISECONDS_FROM
from app.json_text import UnreadableJSON, read_json

MOST_FIELDS: Final = 200
_DATE_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:", re.ASCII)
_NUMBER = re.compile(r"[0-9]{9,13}(\.[0-9]{1,9})?", re.ASCII)
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])([01]?[0-9]|2[0-3])(?::?([0-5][0-9]))?", re.ASCII)
OWN_TYPES: Final[Mapping[Event, str]] = {
    Event.CREATED: "employee.hired",
    Event.LEAVES_AT: "employee.terminated",
    Event.REVOKE_NOW: "employee.terminated",
    Event.CANCELLED: "employee.termination_cancelled",
    Event.REHIRED: "employee.rehired",
    Event.ON_LEAVE: "employee.on_leave",
}
"""What an event is called in our own format (docs/hr.md), in which it is kept and acted on. Others change nobody's standing."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What is said of one person. `at` None is at once, or with `fetch` not known yet. `key` is what the vendor calls them.

    `ahead` is a word that is only read while its day is to come; `passed` what such a one would have been, of a day that has come.
    """

    event: Event
    key: str | None = None
    number: str | None = None
    email: str | None = None
    engagement: str = ""
    at: datetime | None = None
    fetch: bool = False
    ahead: bool = False
    passed: "Said | None" = None

    @property
    def acts(self) -> bool:
        # Somebody who is new is nothing by itself, since people come from a directory; their first day is.
        return self.event in OWN_TYPES and (self.event is not Event.CREATED or self.at is not None)

    @property
    def digest(self) -> str:
        """The same for the same word about the same person: how a record that was seen before is told from news."""
        said = [self.event, self.key, self.number, self.engagement, self.at.isoformat() if self.at else None]
        return f"{self.event}|{hashlib.sha256(json.dumps(said).encode()).hexdigest()}"

    def as_own(self) -> dict[str, Any]:
        """The same in our own format. Other fields of a vendor's text are left out: reasons are nobody's business here."""
        own = {"employee_id": self.number, "work_email": self.email, "engagement_id": self.engagement or None}
        if self.event in (Event.LEAVES_AT, Event.REVOKE_NOW, Event.ON_LEAVE):
            own["revoke_access"] = self.at.isoformat() if self.at is not None else "immediately"
        if self.event is Event.CREATED and self.at is not None:
            own["starts_at"] = self.at.isoformat()
        kind = OWN_TYPES[self.event] if self.acts else f"employee.{self.event}"
        return {"type": kind, "data": {name: value for name, value in own.items() if value}}


def read_body(description: Description, body: bytes) -> Any:
    """The body as a document: JSON, or the fields of a form. Raises BadCall."""
    if description.body is BodyForm.JWT:
        try:
            return read_json(json.dumps(claims_of(body)).encode())
        except (BadToken, UnreadableJSON) as error:
            raise BadCall(f"the body is no JWT that can be taken: {error}") from error
    if description.body is BodyForm.FORM:
        try:
            fields = parse_qsl(
                body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=MOST_FIELDS, errors="strict"
            )
        except ValueError:
            raise BadCall("the body is no form that can be taken") from None
        if len(dict(fields)) < len(fields) or any("\0" in name + value for name, value in fields):
            raise BadCall("the form names one field twice, or holds a character that no text can hold")
        return dict(fields)
    try:
        document = read_json(body, unique=True)
    except UnreadableJSON as error:
        raise BadCall(f"the body is not JSON that can be taken: {error}") from error
    if description.schema is not None:
        _fits_schema(description.schema, document)
    return document


def _fits_schema(name: str, document: Any) -> None:
    import jsonschema_rs  # takes 20 ms to load, and only our own format has a schema

    try:
        jsonschema_rs.validate(json.loads((SHIPPED / name).read_text()), document)
    except jsonschema_rs.ValidationError as error:
        place = ".".join(str(part) for part in error.instance_path) or "the body"
        raise BadCall(f"{place} does not fit {name} at {'/'.join(str(part) for part in error.schema_path)}") from None


def is_ping(description: Description, document: Any, around: Around = NOTHING_AROUND) -> bool:
    """A body that only tries the connection, or an event that says itself that it is not meant (a simulation)."""
    if isinstance(document, str):
        return document in description.pings
    return any(fits(document, place, values, around) for place, values in description.ignore.items())


def say(reading: Reading, document: Any, *, time_zone: str, at: datetime, around: Around = NOTHING_AROUND) -> Said:
    """What a document says, by the first meaning that fits; none of them is *nothing*. Raises BadCall."""
    if not isinstance(document, dict) and reading.each is None:
        raise BadCall("the body must be an object")
    said = Said(
        event=Event.NOTHING, key=text_at(document, reading.key, around), number=text_at(document, reading.number, around),
        email=text_at(document, reading.email, around), engagement=text_at(document, reading.engagement, around) or "",
    )  # fmt: skip
    zone = text_at(document, reading.zone, around) or time_zone
    for meaning in reading.means:
        if not all(fits(document, place, values, around) for place, values in meaning.when.items()):
            continue
        effective = _effective(meaning, document, around, zone=zone, at=at)
        if meaning.ahead and (effective is None or effective <= at):
            if effective is not None and said.passed is None:
                said = replace(said, passed=replace(said, event=meaning.event, at=effective, ahead=True))
            continue
        if meaning.event is not Event.NOTHING and said.key is None and said.number is None:
            raise BadCall(f"{_places(reading.key or reading.number)} must be a non-empty text: whom it is about")
        if meaning.fetch and said.key is None:
            raise BadCall(f"{_places(reading.key)} must be a non-empty text: the vendor is asked by it")
        return replace(said, event=meaning.event, at=effective, fetch=meaning.fetch, ahead=meaning.ahead)
    return said


def not_understood(reading: Reading, document: Any, around: Around, error: BadCall) -> str:
    """Why an event is parked that cannot be read as a whole; and of whom it is, as far as that can be read, so that somebody can look."""
    for what, place in (("employee number", reading.number), ("the vendor's id", reading.key)):
        try:
            found = text_at(document, place, around)
        except BadCall:
            continue
        if found is not None:
            return f"not understood, of {what} {found}: {error}"
    return f"not understood: {error}"


def _places(place: Place) -> str:
    return place if isinstance(place, str) else " or ".join(place or ())


def _zone(name: str) -> tzinfo:
    offset = _OFFSET.fullmatch(name)
    if offset is not None:
        span = timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
        return timezone(-span if offset[1] == "-" else span)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadCall(f"the time zone must be a name such as Europe/Berlin, or an offset such as +01:00, not {name!r}") from error


def _effective(meaning: Meaning, document: Any, around: Around, *, zone: str, at: datetime) -> datetime | None:
    for moment in meaning.at:
        if moment.rule is Rule.NOW:
            return at
        text = text_at(document, moment.place, around)
        if text is None or text in moment.unless:
            continue
        # Looked up where a date needs it: what takes access at once does not wait for somebody to mend a zone.
        there = UTC if moment.rule is Rule.INSTANT else _zone(zone)
        try:
            return _instant(moment, text, there, begins=meaning.event in _BEGINNINGS)
        except (ValueError, OverflowError) as error:
            wanted = f"a date as {moment.format} writes it" if moment.format else _WANTED[moment.rule]
            raise BadCall(f"{moment.place} must be {wanted}, not {text!r}") from error
    if meaning.event is Event.LEAVES_AT and not meaning.fetch:
        raise BadCall(f"one of {', '.join(moment.place for moment in meaning.at)} must say when")
    return None


_BEGINNINGS: Final = (Event.CREATED, Event.REHIRED)
_WANTED: Final[Mapping[Rule, str]] = {
    Rule.END_OF_DAY: "a date such as 2026-11-30, or its midnight",
    Rule.START_OF_DAY: "a date such as 2026-11-30, or its midnight",
    Rule.LOCAL_TIME: "a time such as 2026-11-30T17:00:00",
    Rule.INSTANT: "an instant with its zone, or seconds since 1970",
}


def _instant(moment: Moment, text: str, zone: tzinfo, *, begins: bool) -> datetime:
    said = datetime.strptime(text, moment.format) if moment.format else None
    if moment.rule is Rule.INSTANT:
        return said.astimezone(UTC) if said is not None else _numbered(text) or parse_instant(text)
    if moment.rule is Rule.LOCAL_TIME:
        local = said or datetime.fromisoformat(text)
        if local.tzinfo is not None:
            return local.astimezone(UTC)
        # Around a change of the clock there are two: an end is the first, and a beginning the last.
        meant = [local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        return max(meant) if begins else min(meant)
    day = said.date() if said is not None else _day(text, zone)
    # The end of a day is the start of the next one there, whatever daylight saving does in between.
    first = day if moment.rule is Rule.START_OF_DAY else day + timedelta(days=1)
    return datetime.combine(first, time(), zone).astimezone(UTC)


def _day(text: str, zone: tzinfo) -> date:
    """A date; or the day that a midnight begins, which is how many write a date. Of another time the day is not guessed: ValueError."""
    if DATE.fullmatch(text):
        return date.fromisoformat(text)
    moment = _numbered(text)
    if moment is None and _DATE_TIME.match(text):
        moment = datetime.fromisoformat(text)
    if moment is None:
        raise ValueError(text)
    if moment.time() == time():
        # As it is written, whatever the zone behind it: 2026-11-30T00:00:00Z means the 30th, in America as well.
        return moment.date()
    local = moment.astimezone(zone) if moment.tzinfo is not None else moment
    if local.time() != time():
        raise ValueError(text)
    return local.date()


def _numbered(text: str) -> datetime | None:
    """Seconds or milliseconds since 1970, perhaps with a fraction."""
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return datetime.fromtimestamp(number / 1000 if number >= MILLISECONDS_FROM else number, UTC)
