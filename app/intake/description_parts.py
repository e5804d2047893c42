"""The parts of a description, read from YAML; each complaint names its line, its field, and what should stand there."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.intake.description_types import (
    API,
    SHIPPED,
    BodyForm,
    Challenge,
    Credential,
    Description,
    Encoding,
    Event,
    Handshake,
    Meaning,
    Moment,
    Question,
    Reading,
    Rule,
    Scheme,
    Signature,
    TokenAddress,
)
from app.intake.yaml_nodes import Node, is_beside

KNOWN: Final = (
    "vendor", "body", "signature", "event_id", "pings", "ignore", "time_zone", "event", "record", "api", "details", "poll", "handshake",
    "challenge", "answer", "silent_after", "schema",
)  # fmt: skip
ANSWERS: Final = ("200", "201", "202", "204")
_PARTS: Final = ("body", "timestamp", "id", "method", "url")
_URL = re.compile(r"https?://[^/\s@]+")
_YEAR = re.compile("%[YyGcx]")
_TRIED_DATE = datetime(2026, 11, 30, 17, 5, tzinfo=UTC)
Read = TypeVar("Read")


def description(top: Node) -> Description:
    """The whole. Raises DescriptionError at the first thing that is wrong."""
    found = top.fields(*KNOWN, needed=("vendor",))
    signature = _get(found, "signature", _signature)
    made = Description(
        vendor=found["vendor"].text(),
        body=_get(found, "body", lambda node: node.word(BodyForm)) or BodyForm.JSON,
        signature=signature,
        event_id=_get(found, "event_id", Node.place) or _own_id(signature),
        pings=_get(found, "pings", Node.texts) or (),
        ignore=_get(found, "ignore", Node.conditions) or {},
        time_zone=_get(found, "time_zone", _zone),
        event=_get(found, "event", _reading),
        record=_get(found, "record", _reading),
        api=_get(found, "api", _api),
        details=_get(found, "details", _question),
        poll=_get(found, "poll", _question),
        handshake=_get(found, "handshake", _handshake),
        challenge=_get(found, "challenge", _challenge),
        answer=_get(found, "answer", lambda node: int(node.one_of(*ANSWERS))),
        silent_after=_get(found, "silent_after", Node.span),
        schema=_get(found, "schema", _schema),
    )
    _check_whole(top, found, made)
    _check_signature(found, made)
    _check_record(found, made)
    return made


def _get(found: Mapping[str, Node], name: str, reading: Callable[[Node], Read]) -> Read | None:
    return reading(found[name]) if name in found else None


def _check_whole(top: Node, found: Mapping[str, Node], made: Description) -> None:
    """What one field alone does not show: above all that nobody is acted on by a word that anybody could have said."""
    if made.event is None and made.poll is None:
        raise top.wrong("it needs 'event', which reads calls, or 'poll', which asks for records")
    if made.event is not None and made.signature is None:
        raise found["event"].wrong(
            "calls need 'signature'; a vendor that signs nothing has 'scheme: none' there, and 'details' that confirm"
        )
    if made.confirms and made.event is not None and made.event.key is None:
        raise found["event"].wrong("who does not sign needs 'key': the vendor's API is asked by it before anything is done")
    if made.confirms and made.details is None:
        raise found["signature"].wrong("who does not sign is confirmed by the vendor's API before anything is done: 'details' is missing")
    for name in ("details", "poll", "handshake"):
        if name in found and made.api is None:
            raise found[name].wrong("it needs 'api', which says where the vendor's API is")
        if name in found and name != "handshake" and (made.record is None or made.record.key is None):
            raise found[name].wrong("it needs 'record' with 'key', which reads what the API answers")
    if made.details is None and made.event is not None and any(meaning.fetch for meaning in made.event.means):
        raise found["event"].wrong("'fetch: true' needs 'details'")
    if made.event is not None and made.event.key is None and any(meaning.fetch for meaning in made.event.means):
        raise found["event"].wrong("'fetch: true' needs 'key': the vendor's API is asked by it")
    if made.details is not None and "{key}" not in made.details.path and "{key}" not in str(made.details.send):
        raise found["details"].wrong("the path needs {key}, the person whom it asks for")
    if made.event is not None and made.event.key is None and made.event.number is None:
        raise found["event"].wrong("it needs 'key' or 'number', which say whom an event is about")
    if made.event is not None and made.event.each is not None and made.body is not BodyForm.JSON:
        raise found["event"].wrong("'each' is a list in JSON")


def _check_signature(found: Mapping[str, Node], made: Description) -> None:
    signature = made.signature
    if signature is None:
        return
    if "id" in signature.over and made.event_id is None:
        raise found["signature"].wrong("'id' is signed, so 'event_id' must say where it stands, such as header:X-Event-Id")
    if signature.scheme is Scheme.JWT and (made.body is BodyForm.JWT) == (signature.body_claim is not None):
        raise found["signature"].wrong(
            "of a JWT either the body is one, 'body: jwt', or 'body_claim' names the claim with the SHA-256 of the body: else it says nothing of it"
        )
    if made.body is BodyForm.JWT and signature.scheme is not Scheme.JWT:
        raise found["body"].wrong("a body that is a JWT has 'scheme: jwt' in 'signature'")


def _check_record(found: Mapping[str, Node], made: Description) -> None:
    if made.record is None:
        return
    if any(moment.rule is Rule.NOW for meaning in made.record.means for moment in meaning.at):
        raise found["record"].wrong("a record is read again and again: 'now: true' would be another instant each time; say 'revoke now'")
    if made.record.each is not None or made.record.beside:
        raise found["record"].wrong("a record has no headers, and no list of events: 'place' of 'details' or 'poll' says where it stands")


def _own_id(signature: Signature | None) -> str | None:
    """Standard Webhooks have an id for each call, and sign it."""
    if signature is None or signature.scheme is not Scheme.STANDARD_WEBHOOKS:
        return None
    return f"header:{signature.header[: -len('signature')]}id"


def _signature(node: Node) -> Signature:
    found = node.fields(
        "scheme", "header", "hash", "over", "encoding", "prefix", "key", "timestamp", "tolerance", "body_claim", needed=("scheme",)
    )  # fmt: skip
    scheme = found["scheme"].word(Scheme)
    signs = scheme in (Scheme.HMAC, Scheme.PUBLIC_KEY)
    if signs and "header" not in found:
        raise node.wrong("it needs 'header', where the signature stands")
    for name in ("hash", "over", "encoding", "prefix", "key", "timestamp"):
        if name in found and not signs:
            raise found[name].wrong(f"this is for 'scheme: hmac' and 'scheme: public key', not for {scheme}")
    over = _get(found, "over", _parts) or ("body",)
    if "body" not in over:
        raise found["over"].wrong("a signature that leaves out the body says nothing of it")
    timestamp = _get(found, "timestamp", _timestamp)
    if (timestamp is not None) != ("timestamp" in over):
        raise node.wrong("'timestamp' names the header, and stands in 'over': a time that is not signed is nobody's word")
    algorithm = _get(found, "hash", lambda one: one.one_of("sha1", "sha256", "sha384", "sha512")) or "sha256"
    if algorithm == "sha1" and scheme is Scheme.PUBLIC_KEY:
        raise found["hash"].wrong("SHA-1 is good for nothing but an HMAC any more")
    default = "webhook-signature" if scheme is Scheme.STANDARD_WEBHOOKS else "Authorization"
    made = Signature(
        scheme=scheme,
        header=_get(found, "header", Node.header_or_query) or default,
        algorithm=algorithm,
        over=over,
        encoding=_get(found, "encoding", lambda one: one.word(Encoding)) or (Encoding.HEX if scheme is Scheme.HMAC else Encoding.BASE64),
        prefix=_get(found, "prefix", Node.text) or "",
        key=_get(found, "key", lambda one: one.one_of("text", "base64", "hex")) or "text",
        timestamp=timestamp,
        tolerance=_get(found, "tolerance", Node.span) or timedelta(minutes=5),
        body_claim=_get(found, "body_claim", Node.field),
    )
    if scheme is Scheme.STANDARD_WEBHOOKS and not made.header.lower().endswith("-signature"):
        raise found["header"].wrong("its name ends with -signature, such as svix-signature: the id and the time stand in headers named alike")
    return made


def _timestamp(node: Node) -> str:
    """A header; or, where it stands in the header of the signature itself, what stands before it there, such as `t=`."""
    return node.text() if re.fullmatch(r"[A-Za-z0-9_]{1,20}=", node.text()) else node.header()


def _parts(node: Node) -> tuple[str, ...]:
    """What is signed, in order; a text is in quotes within the quotes, such as "'.'"."""
    parts = node.texts()
    for part in parts:
        known = part in _PARTS or re.fullmatch(r"'[^']*'", part) or re.fullmatch(r"header:[A-Za-z0-9_-]{1,100}", part, re.ASCII)
        if not known:
            raise node.wrong(f"a part is {', '.join(_PARTS)}, header:NAME, or a text such as \"'.'\", not {part!r}")
    return parts


def _reading(node: Node) -> Reading:
    found = node.fields("each", "key", "number", "email", "engagement", "zone", "means", needed=("means",))
    places = {name: _get(found, name, Node.fields_in_order) for name in ("key", "number", "email", "engagement", "zone")}
    return Reading(**places, each=_get(found, "each", _list), means=tuple(_meaning(item) for item in found["means"].items()))


def _list(node: Node) -> str:
    """Where a list of events stands."""
    if re.fullmatch(r"\.|[^.\[\]]+(\.[^.\[\]]+)*", node.field()) is None or node.field().startswith("call:"):
        raise node.wrong("it must be the place of a list, such as data.events, or '.' where the body itself is one")
    return node.text()


def _meaning(node: Node) -> Meaning:
    found = node.fields("event", "when", "at", "fetch", "ahead", needed=("event",))
    meaning = Meaning(
        event=found["event"].word(Event),
        when=_get(found, "when", lambda one: one.conditions(beside=True)) or {},
        at=_get(found, "at", lambda one: tuple(_moment(item) for item in one.items())) or (),
        fetch=_get(found, "fetch", Node.flag) or False,
        ahead=_get(found, "ahead", Node.flag) or False,
    )
    if meaning.event is Event.LEAVES_AT and not meaning.at and not meaning.fetch:
        raise node.wrong("'leaves at' needs 'at', where its date stands, or 'fetch: true'; who leaves at once is 'revoke now'")
    if meaning.ahead and not meaning.at:
        raise node.wrong("'ahead' needs 'at', the date that is still to come")
    return meaning


def _moment(node: Node) -> Moment:
    found = node.fields(*Rule, "format", "unless")
    rules = [rule for rule in Rule if rule in found]
    if len(rules) != 1:
        raise node.wrong(f"it needs one of {', '.join(Rule)}, with the place of the date")
    if rules[0] is Rule.NOW and not found["now"].flag():
        raise found["now"].wrong("it is true, or left out")
    return Moment(
        rule=rules[0],
        place=found[rules[0]].field(),
        format=_get(found, "format", lambda one: _format(one, rules[0])),
        unless=_get(found, "unless", Node.texts) or (),
    )


def _format(node: Node, rule: Rule) -> str:
    """How a date is written. Tried on one, so that a way of writing it that nobody reads is said here and not at the first leaver."""
    text = node.text()
    try:
        # Without a year Python warns, and from 3.15 on may do anything else.
        there = datetime.strptime(_TRIED_DATE.strftime(text), text) if _YEAR.search(text) else None
    except ValueError:
        there = None
    if there is None or there.date() != _TRIED_DATE.date():
        raise node.wrong(f"it is written as strptime has it, with day, month and year, such as %d/%m/%Y or %Y-%m-%dT%H:%M:%S, not {text!r}")
    if rule is Rule.INSTANT and there.tzinfo is None:
        raise node.wrong("an instant needs its zone, %z; a date without one is 'end_of_day', 'start_of_day' or 'local_time'")
    return text


def _question(node: Node) -> Question:
    found = node.fields("path", "place", "send", "page", "first", "offset", "next", "cursor", "every", "missing", needed=("path",))
    path = found["path"].text()
    if not path.startswith("/"):
        raise found["path"].wrong("it begins with '/', and goes behind the URL of 'api'")
    every = _get(found, "every", Node.span) or timedelta(minutes=15)
    if every < timedelta(minutes=1):
        raise found["every"].wrong("it is a minute at least")
    ways = [name for name in ("page", "offset", "next") if name in found]
    if len(ways) > 1:
        raise found[ways[1]].wrong(f"a list is turned over in one way: {', '.join(ways)} are several")
    if "cursor" in found and "next" not in found:
        raise found["cursor"].wrong("it names what the cursor is sent as; 'next' is the place of the cursor in the answer")
    if "first" in found and "page" not in found:
        raise found["first"].wrong("it is the number of the first page, whose name 'page' says")
    place = _get(found, "place", Node.field) or ""
    return Question(
        path=path, place="" if place == "." else place, send=_get(found, "send", Node.plain), page=_get(found, "page", Node.text),
        first=int(_get(found, "first", lambda one: one.one_of("0", "1")) or 1), offset=_get(found, "offset", Node.text),
        next=_get(found, "next", Node.field), cursor=_get(found, "cursor", Node.text), every=every,
        missing_is_gone=_get(found, "missing", lambda one: one.one_of("gone", "unknown")) == "gone",
    )  # fmt: skip


def _api(node: Node) -> API:
    found = node.fields("url", "credential", "headers", "header", "token", needed=("url", "credential"))
    credential = found["credential"].word(Credential)
    headers = {entry.name.rpartition(".")[2]: entry.text() for entry in found["headers"].entries().values()} if "headers" in found else {}
    for name, of in (("header", Credential.HEADER), ("token", Credential.OAUTH)):
        if (name in found) != (credential is of):
            raise node.wrong(f"{name!r} goes with 'credential: {of}'" if name in found else f"'credential: {of}' needs {name!r}")
    return API(
        url=_url(found["url"]).rstrip("/"), credential=credential, headers=headers,
        header=_get(found, "header", Node.header), token=_get(found, "token", _token),
    )  # fmt: skip


def _url(node: Node) -> str:
    if _URL.match(node.text()) is None:
        raise node.wrong("it must be https://HOST/PATH, in which {NAME} stands for what 'source add hr --set NAME=…' says")
    return node.text()


def _token(node: Node) -> TokenAddress:
    found = node.fields("url", "scope", "client", needed=("url",))
    in_body = _get(found, "client", lambda one: one.one_of("header", "body")) == "body"
    return TokenAddress(url=_url(found["url"]), scope=_get(found, "scope", Node.text), in_body=in_body)


def _handshake(node: Node) -> Handshake:
    found = node.fields("token", "put", "send", needed=("token", "put", "send"))
    send = {name: entry.field() for name, entry in found["send"].entries().items()}
    return Handshake(token=found["token"].field(), put=found["put"].text(), send=send)


def _challenge(node: Node) -> Challenge:
    found = node.fields("place", "answer", needed=("place",))
    place = found["place"].place()
    answer = _get(found, "answer", lambda one: one.one_of("text", "json"))
    plain = place == "." or is_beside(place)
    if plain and answer == "json":
        raise found["answer"].wrong("as JSON only a field of the body is answered, under its own name")
    return Challenge(place=place, as_json=not plain and answer != "text")


def _zone(node: Node) -> str:
    try:
        ZoneInfo(node.text())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise node.wrong(f"it must be a name such as Europe/Berlin, not {node.text()!r}") from None
    return node.text()


def _schema(node: Node) -> str:
    return node.one_of(*sorted(path.name for path in SHIPPED.glob("*.schema.json")))
