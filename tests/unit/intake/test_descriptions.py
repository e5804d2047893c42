"""Descriptions of HR systems: what is read, and how a mistake is said."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from app.intake import descriptions
from app.intake.description_parts import KNOWN
from app.intake.description_types import BodyForm, Credential, Event, Rule, Scheme
from app.intake.yaml_nodes import DescriptionError
from tests.hr_vendor import SAMPLES

API = "api: {url: 'https://a.example', credential: bearer}"
LEAST = """vendor: Acme HR
signature: {scheme: hmac, header: X-Signature}
event:
  key: id
  means:
    - {when: {type: left}, event: revoke now}
"""


@pytest.mark.parametrize("name", descriptions.shipped())
def test_what_is_shipped_can_be_read(name: str) -> None:
    made = descriptions.read(descriptions.text_of(name))

    assert made.event is not None or made.poll is not None


def test_a_vendor_that_is_not_shipped_takes_less_than_forty_lines() -> None:
    text = (SAMPLES / "deel.yaml").read_text()

    made = descriptions.read(text)

    assert len(text.splitlines()) < 40
    assert made.event is not None
    assert made.event.means[0].event is Event.LEAVES_AT


PAGE = (Path(__file__).parents[3] / "docs" / "hr" / "describing.md").read_text()


def test_the_example_of_the_page_is_a_description() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)

    made = descriptions.read(example)

    assert made.event is not None and [meaning.event for meaning in made.event.means] == [Event.LEAVES_AT, Event.CANCELLED, Event.ON_LEAVE]


@pytest.mark.parametrize("snippet", re.findall(r"`(\{scheme: [^`]*\})`", PAGE))
def test_what_the_page_says_of_signatures_can_be_written(snippet: str) -> None:
    body = "body: jwt\n" if snippet == "{scheme: jwt}" else ""
    rest = LEAST.partition("event:")[2]

    made = descriptions.read(f"vendor: A\n{body}signature: {snippet}\n{API}\ndetails: {{path: '/e/{{key}}'}}\nrecord: {{key: id, means: []}}\nevent:{rest}")

    assert made.signature is not None and str(made.signature.scheme) in snippet


def test_the_page_names_every_field_and_every_word() -> None:
    words = {*KNOWN, *Event, *Rule, *Credential, *BodyForm}

    assert {word for word in words if f"`{word}`" not in PAGE and f"`{word}:" not in PAGE} == set()
    # A token is a token with `Bearer` before it or not; its older name is still read.
    assert {scheme for scheme in Scheme if f"scheme: {scheme}" not in PAGE} == {Scheme.BEARER}


@pytest.mark.parametrize(
    ("changed", "line", "says"),
    [
        (("hmac", "hmacc"), 2, "signature.scheme: it must be one of standard webhooks, hmac, public key, jwt, token, bearer, basic, none, not 'hmacc'"),
        ((", header: X-Signature", ""), 2, "'header'"),
        (("key: id", "kee: id"), 4, "event.kee: there is no such field; there are each, key"),
        (("key: id", "key: '{id}'"), 4, "a place in the body"),
        (("key: id", "key: $.data.id"), 4, "without '$' in front, such as data.id"),
        (("key: id", "key: header:x-id"), 4, "must stand in the body"),
        (("key: id", "key: [id, query:id]"), 4, "event.key[1]: it must stand in the body"),
        (("key: id", "key: []"), 4, "a place, or a list of places"),
        (("{type: left}", "{header:x event: left}"), 6, "header:NAME or query:NAME"),
        (("event: revoke now", "event: leaves at, at: [{instant: header:x-day}]"), 6, "neither signed nor kept"),
        (("event:\n", "ignore: {header:x-test: 'true'}\nevent:\n"), 3, "neither signed nor kept"),
        (("hmac, header: X-Signature", "none"), 2, "'details' is missing"),
        (("hmac, header: X-Signature}\nevent:\n  key: id", "bearer}\nevent:\n  number: id"), 4, "who does not sign needs 'key'"),
        (("revoke now", "fired"), 6, "event.means[0].event: it must be one of created, changed, leaves at"),
        (("event: revoke now", "event: leaves at"), 6, "'leaves at' needs 'at'"),
        (("event: revoke now", "event: leaves at, at: [{end: day}]"), 6, "there is no such field; there are end_of_day"),
        (("event: revoke now", "event: changed, fetch: true"), 4, "'fetch: true' needs 'details'"),
        (("event: revoke now", "event: changed, fetch: yes"), 6, "it must be true or false"),
        (("scheme: hmac", "scheme: bearer"), 2, "'details' is missing"),
        (("scheme: hmac", "scheme: hmac, over: [method]"), 2, "leaves out the body"),
        (("scheme: hmac", "scheme: hmac, over: [body, timestamp]"), 2, "a time that is not signed is nobody's word"),
        (("scheme: hmac", "scheme: hmac, over: [body, .]"), 2, "a part is body"),
        (("vendor: Acme HR", "vendor: Acme HR\ntime_zone: Mars/Base"), 2, "a name such as Europe/Berlin"),
        (("vendor: Acme HR", "vendor: Acme HR\nvendor: Other"), 2, "a field is named once"),
        (("vendor: Acme HR", "vendor: Acme HR\npoll: {path: /all}"), 2, "it needs 'api'"),
        (("vendor: Acme HR", "vendor: Acme HR\nsilent_after: 3"), 2, "write it like '14 days'"),
        (("vendor: Acme HR", "vendor: [Acme"), 2, "this is not YAML"),
        (("vendor: Acme HR\n", ""), 1, "'vendor' is missing"),
        (("key: id", "number: id\n  each: 'data[0]'"), 5, "the place of a list, such as data.events"),
        (("key: id", "key: id\n  each: call:events"), 5, "the place of a list"),
        (("event:\n", "body: form\nevent:\n  each: events\n"), 5, "'each' is a list in JSON"),
        (("hmac, header: X-Signature", "hmac, header: X-Signature, over: [body, id]"), 2, "'event_id' must say where it stands"),
        (("hmac, header: X-Signature", "hmac, header: X-Signature, hash: md5"), 2, "one of sha1, sha256, sha384, sha512, not 'md5'"),
        (("hmac, header: X-Signature", "public key, header: X-Signature, hash: sha1"), 2, "good for nothing but an HMAC"),
        (("hmac, header: X-Signature", "public key"), 2, "'header', where the signature stands"),
        (("hmac, header: X-Signature", "hmac, header: X-Signature, over: [timestamp, body], timestamp: 't ='"), 2, "the name of a header"),
        (("hmac, header: X-Signature", "hmac, header: X-Signature, over: [body, 'header:a b']"), 2, "header:NAME, or a text such as"),
        (("hmac, header: X-Signature", "standard webhooks, header: X-Sig"), 2, "ends with -signature, such as svix-signature"),
        (("hmac, header: X-Signature", "standard webhooks, encoding: hex"), 2, "not for standard webhooks"),
        (("hmac, header: X-Signature", "jwt"), 2, "'body: jwt', or 'body_claim'"),
        (("vendor: Acme HR", "vendor: Acme HR\nbody: jwt"), 2, "has 'scheme: jwt'"),
        (("hmac, header: X-Signature", "token, header: query:a b"), 2, "header:NAME or query:NAME"),
        (("hmac, header: X-Signature", "hmac, header: X-Signature, tolerance: 300"), 2, "write it like '14 days'"),
        (("event: revoke now", "event: leaves at, at: [{end_of_day: day, format: DD/MM/YYYY}]"), 6, "such as %d/%m/%Y"),
        (("event: revoke now", "event: leaves at, at: [{end_of_day: day, format: '%d/%m'}]"), 6, "with day, month and year"),
        (("event: revoke now", "event: leaves at, at: [{instant: day, format: '%d/%m/%Y %H:%M'}]"), 6, "an instant needs its zone, %z"),
        (("vendor: Acme HR", "vendor: Acme HR\nanswer: 302"), 2, "one of 200, 201, 202, 204, not '302'"),
        (("vendor: Acme HR", "vendor: Acme HR\nchallenge: {place: query:echo, answer: json}"), 2, "only a field of the body"),
        (("vendor: Acme HR", "vendor: Acme HR\nchallenge: {answer: json}"), 2, "'place' is missing"),
        (("vendor: Acme HR", "vendor: Acme HR\napi: {url: 'https://a.example', credential: header}"), 2, "'credential: header' needs 'header'"),
        (("vendor: Acme HR", "vendor: Acme HR\napi: {url: 'https://a.example', credential: oauth}"), 2, "'credential: oauth' needs 'token'"),
        (("vendor: Acme HR", "vendor: Acme HR\napi: {url: a.example, credential: bearer}"), 2, "https://HOST/PATH"),
        (("vendor: Acme HR", f"vendor: Acme HR\n{API}\npoll: {{path: /all, page: p, next: n}}"), 3, "page, next are several"),
        (("vendor: Acme HR", f"vendor: Acme HR\n{API}\npoll: {{path: /all, cursor: c}}"), 3, "'next' is the place of the cursor"),
        (("vendor: Acme HR", f"vendor: Acme HR\n{API}\npoll: {{path: /all, first: 0}}"), 3, "whose name 'page' says"),
        (("vendor: Acme HR", f"vendor: Acme HR\n{API}\npoll: {{path: all}}"), 3, "begins with '/'"),
        (("vendor: Acme HR", f"vendor: Acme HR\n{API}\npoll: {{path: /all}}\nrecord: {{key: id, each: x, means: []}}"), 4, "no list of events"),
    ],
)
def test_a_mistake_is_said_with_its_line_and_what_should_stand_there(changed: tuple[str, str], line: int, says: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        descriptions.read(LEAST.replace(*changed))

    assert caught.value.line == line
    assert says in str(caught.value)


def test_what_the_record_is_to_decide_needs_the_vendors_own_id() -> None:
    """Else there would be nothing to ask by, and the day of a leaving would not be known."""
    thin = f"{LEAST}{API}\ndetails: {{path: '/e/{{key}}'}}\nrecord: {{key: id, means: []}}\n".replace("key: id\n", "number: n\n")

    with pytest.raises(DescriptionError, match="'fetch: true' needs 'key'"):
        descriptions.read(thin.replace("event: revoke now", "event: leaves at, fetch: true"))


@pytest.mark.parametrize(("header", "place"), [("", "header:webhook-id"), (", header: svix-signature", "header:svix-id")])
def test_standard_webhooks_are_known_by_the_id_that_they_sign(header: str, place: str) -> None:
    made = descriptions.read(LEAST.replace("hmac, header: X-Signature", f"standard webhooks{header}"))

    assert made.event_id == place
    assert descriptions.read(LEAST.replace("hmac, header: X-Signature", "standard webhooks").replace("event:", "event_id: id\nevent:", 1)).event_id == "id"


def test_a_tolerance_may_be_said_in_seconds() -> None:
    made = descriptions.read(LEAST.replace("header: X-Signature", "header: X-Signature, tolerance: 90 seconds"))

    assert made.signature is not None and made.signature.tolerance == timedelta(seconds=90)


def test_a_record_has_no_moment_that_moves() -> None:
    polled = "vendor: A\napi: {url: 'https://a.example', credential: bearer}\npoll: {path: /all}\nrecord:\n  key: id\n  means: [{event: leaves at, at: [{now: true}]}]\n"

    with pytest.raises(DescriptionError, match="another instant each time"):
        descriptions.read(polled)


@pytest.mark.parametrize("text", ["", "[]", "a: " + "[" * 2000, "x: !!python/object/apply:os.system [ls]", "vendor: " + "x" * 200_000])
def test_what_is_no_description_is_refused_in_words(text: str) -> None:
    with pytest.raises(DescriptionError):
        descriptions.read(text)


ASKING = "vendor: A\napi: {url: 'https://a.example', credential: bearer}\nrecord: {key: id, means: []}\npoll:\n  path: /all\n  send:\n    a: &a0 [x]\n"
LAUGHS = "".join(f"    a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 9))


@pytest.mark.parametrize(
    ("more", "because"),
    [
        (LAUGHS, "more than 1000 parts"), ("    b: &b [*b]\n", "more than 1000 parts"), ("    since: 2026-11-30\n", "in quotes"),
        ("    since: 2026-13-45\n", "in quotes"), ("    b: .nan\n", "JSON"), ("    b: !!binary aGk=\n", "JSON"), ("    b: !!set {x, y}\n", "JSON"),
    ],
    ids=["laughs", "a circle", "a date", "no date", "nan", "bytes", "a set"],
)  # fmt: skip
def test_what_is_sent_is_what_json_can_say(more: str, because: str) -> None:
    assert descriptions.read(f"{ASKING}    since: '2026-11-30'\n    b: [*a0, 1.5, true, null]\n").poll is not None

    with pytest.raises(DescriptionError, match=f"poll.send: .*{because}"):
        descriptions.read(ASKING + more)
