"""A call taken apart: the events in it, each with a name by which it is known again and with what is kept of it. Pure.

What counts for *the same call* is what was signed. A header or a part of the query that is not signed makes no second call of bytes
that came before: whoever holds one good call could show it again under another.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from app.intake.description_types import BodyForm, Description, Scheme
from app.intake.hr import BadCall
from app.intake.places import LONGEST_VALUE, WHOLE, Around, text_at, value_at
from app.intake.schemes import Request
from app.intake.vendor_calls import read_body
from app.intake.yaml_nodes import is_beside

MOST_EVENTS: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Told:
    """One event. `kept` is what is stored of the body, `beside` what headers and the query said of its meaning, `delivery` an id that is not signed."""

    name: str
    document: Any
    around: Around
    kept: bytes = field(repr=False)
    beside: Mapping[str, str] = field(default_factory=dict)
    delivery: str | None = None

    @property
    def apart(self) -> dict[str, Any]:
        """What is stored of it, to read the event again and to tell it from another of the same bytes."""
        return {**({"beside": dict(self.beside)} if self.beside else {}), **({"delivery": self.delivery} if self.delivery else {})}

    @property
    def variant(self) -> str:
        """Another name, for the same bytes under other headers."""
        return f"{self.name}~{hashlib.sha256(json.dumps([dict(self.beside), self.delivery], sort_keys=True).encode()).hexdigest()[:16]}"


def sender_id(description: Description, request: Request) -> str | None:
    """The sender's own id of a call, where the description says where it stands and it is there."""
    place = description.event_id
    if place is None:
        return None
    if is_beside(place):
        found = request.beside(place)
    else:
        try:
            found = text_at(read_body(description, request.body), place.removeprefix(WHOLE))
        except BadCall:
            found = None
    return found[:LONGEST_VALUE] if found else None


def challenge_of(description: Description, request: Request) -> str | None:
    """The text by which the vendor tries our address, where this call is that and no more; it is answered and means nothing."""
    challenge = description.challenge
    if challenge is None:
        return None
    if is_beside(challenge.place):
        return request.beside(challenge.place)
    if challenge.place == "." and description.body is not BodyForm.FORM:
        try:
            document = read_body(description, request.body)
        except BadCall:
            # A text that is not even JSON is what some send.
            document = request.body.decode("utf-8", "replace").strip()
        is_text = isinstance(document, str) and document and document not in description.pings
        return document[:LONGEST_VALUE] if is_text else None
    try:
        return text_at(read_body(description, request.body), challenge.place)
    except BadCall:
        return None


def parts_of(description: Description, request: Request) -> list[Told]:
    """The events in a verified call, in order. Raises BadCall where it cannot be read, or where a list is too long."""
    body = read_body(description, request.body)
    said = _beside(description, request)
    around = Around(body=body, beside=said)
    name = _name(description, request, said)
    delivery = None if description.event_id is None or not is_beside(description.event_id) else request.beside(description.event_id)
    if _id_is_signed(description):
        delivery = None
    each = None if description.event is None else description.event.each
    if each is None or (isinstance(body, str) and body in description.pings):
        return [Told(name=name, document=body, around=around, kept=request.body, beside=said, delivery=delivery)]
    return [
        Told(
            name=_own_name(description, item) or f"{name}#{number}", document=item, around=Around(body=body, beside=said),
            kept=json.dumps(_narrowed(body, each, item)).encode(), beside=said, delivery=delivery,
        )
        for number, item in enumerate(_items(body, each))
    ]  # fmt: skip


def reread(description: Description, kept: bytes, beside: Mapping[str, str]) -> tuple[Any, Around]:
    """A stored event again, with what is around it. Raises BadCall."""
    body = read_body(description, kept)
    each = None if description.event is None else description.event.each
    document = body if each is None else next(iter(_items(body, each)), None)
    return document, Around(body=body, beside=beside)


def whole(description: Description, request: Request, name: str | None = None) -> Told:
    """A call that is not taken apart: it cannot be read, or it says nothing that is acted on."""
    return Told(name=name or _name(description, request, {}), document=None, around=Around(), kept=request.body)


def _beside(description: Description, request: Request) -> dict[str, str]:
    places = description.event.beside if description.event is not None else frozenset[str]()
    return {place: said[:LONGEST_VALUE] for place in sorted(places) if (said := request.beside(place))}


def _covers(description: Description, place: str) -> bool:
    return description.signature is not None and description.signature.covers(place)


def _id_is_signed(description: Description) -> bool:
    signature, place = description.signature, description.event_id
    if signature is None or place is None:
        return False
    named = signature.header[: -len("signature")].lower()
    own = signature.scheme is Scheme.STANDARD_WEBHOOKS and place.lower() == f"header:{named}id"
    return own or "id" in signature.over or _covers(description, place)


def _name(description: Description, request: Request, said: Mapping[str, str]) -> str:
    """The sender's own id where that is signed, or where nothing is; else the bytes, with whatever else is signed, are the name."""
    sender = sender_id(description, request)
    place = description.event_id or ""
    if sender and (not is_beside(place) or _id_is_signed(description) or description.confirms):
        return sender
    signed = [request.body, *(f"\n{place} {text}".encode() for place, text in said.items() if _covers(description, place))]
    return f"sha256:{hashlib.sha256(b''.join(signed)).hexdigest()}"


def _items(body: Any, each: str) -> list[Any]:
    items = value_at(body, each)
    if not isinstance(items, list):
        raise BadCall(f"there is no list of events at {each!r}")
    if len(items) > MOST_EVENTS:
        raise BadCall(f"there are {len(items)} events in one call; at most {MOST_EVENTS}")
    return items


def _own_name(description: Description, item: Any) -> str | None:
    """The id of one event of several, where each has its own."""
    place = description.event_id
    if place is None or is_beside(place) or place.startswith(WHOLE):
        return None
    try:
        found = text_at(item, place)
    except BadCall:
        return None
    return found[:LONGEST_VALUE] if found else None


def _narrowed(body: Any, each: str, item: Any) -> Any:
    """The same body with one event in its list alone: what is around it stays readable, and nobody else's event is kept with it."""
    steps = [step for step in each.split(".") if step]
    if not steps:
        return [item]
    if not isinstance(body, dict):
        return body
    inner = _narrowed(body.get(steps[0]), ".".join(steps[1:]), item)
    return {**body, steps[0]: inner}
