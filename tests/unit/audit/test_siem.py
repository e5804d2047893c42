"""Every leaf reaches whoever watches, in order, and a receiver's place moves only once it has them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import responses
from flask import Flask
from requests import PreparedRequest
from sqlalchemy import update

from app.audit import siem
from app.audit.siem import Event, Lines, Syslog
from app.audit.tree_tables import AuditDelivery, AuditLeaf
from app.clock import now
from app.commands import evidence
from app.database import transaction
from connectors import syslog
from connectors.contract import Misconfigured, Refused, Unreachable
from tests.unit.audit.growing import Ledger
from tests.unit.audit.listening import Listening, certificate_in
from tests.unit.audit.tampering import garbled, tampered

COLLECTOR = "https://127.0.0.1:8088/events"


class Pocket:
    """Keeps what it takes, and refuses when told to."""

    name = "pocket"

    def __init__(self) -> None:
        self.taken: list[Event] = []
        self.away = False

    def take(self, events: Sequence[Event]) -> None:
        if self.away:
            raise Unreachable("pocket: away", sent=True)
        self.taken += events


def _place(receiver: str = "pocket") -> AuditDelivery | None:
    with transaction() as session:
        return session.get(AuditDelivery, ("acme", receiver))


def test_every_leaf_is_taken_once_and_in_order(ledger: Ledger) -> None:
    ledger.writes(450)
    ledger.passes()
    pocket = Pocket()

    assert evidence.deliver(pocket) == 450
    assert evidence.deliver(pocket) == 0

    assert [one.number for one in pocket.taken] == list(range(450))


def test_what_was_not_taken_is_sent_again(ledger: Ledger) -> None:
    ledger.writes(3)
    ledger.passes()
    pocket = Pocket()
    pocket.away = True

    assert evidence.deliver(pocket) == 0
    place = _place()
    assert place is not None
    assert (place.next, place.last_error) == (0, "pocket: away")
    pocket.away = False

    assert evidence.deliver(pocket) == 3
    place = _place()
    assert place is not None
    assert (place.next, place.last_error) == (3, None)


def test_an_event_says_who_did_what_and_not_what_stood_in_the_row(ledger: Ledger) -> None:
    ledger.writes(1, before={"title": "nurse"}, after={"userName": "ada@acme.example"})
    ledger.does("shut account @ada:chat")
    ledger.passes()
    pocket = Pocket()

    evidence.deliver(pocket)

    said = {one.kind: json.loads(one.line()) for one in pocket.taken}
    assert (said["journal"]["actor"], said["journal"]["verb"], said["journal"]["because"]) == ("operator:grace", "joined", "a test")
    assert said["deed"]["did"] == "shut account @ada:chat"
    assert (said["journal"]["organization"], said["journal"]["log"]) == ("acme", "id.acme.example/audit/acme")
    assert not [word for word in ("nurse", "ada@") if word in json.dumps(said["journal"])]


def test_a_syslog_server_gets_messages_as_rfc_5424_has_them(ledger: Ledger) -> None:
    ledger.writes(2)
    ledger.passes()
    with Listening() as server:
        evidence.deliver(Syslog(server.url, host="id.acme.example"))

    assert len(server.messages) == 2
    found = re.fullmatch(r"<110>1 (\S+) id\.acme\.example doorlist \d+ journal - \ufeff(\{.*\})", server.messages[0])
    assert found is not None
    assert found[1] == "2026-11-26T12:00:00.000000Z"
    assert json.loads(found[2])["leaf"] == 0


def test_a_syslog_server_is_known_by_its_certificate(ledger: Ledger, tmp_path: Path) -> None:
    ledger.writes(2)
    ledger.passes()
    certificate = certificate_in(tmp_path)
    with Listening(certificate=certificate) as server:
        with pytest.raises(Misconfigured, match="certificate"):
            Syslog(server.url, host="acme").take(_events())
        evidence.deliver(Syslog(server.url, host="acme", ca_file=str(certificate)))

    assert len(server.messages) == 2


def test_a_syslog_server_that_breaks_off_has_nothing(ledger: Ledger) -> None:
    ledger.writes(2)
    ledger.passes()
    with Listening(hangs_up=True) as server:
        assert evidence.deliver(Syslog(server.url, host="acme")) == 0

    place = _place("syslog")
    assert place is not None
    assert place.next == 0


def test_a_syslog_server_that_talks_on_and_on_is_given_up(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.writes(2)
    ledger.passes()
    monkeypatch.setattr(syslog, "TOTAL_SECONDS", 0.2)
    with ThreadPoolExecutor(1) as pool, Listening(talks=True) as server:
        given = pool.submit(Syslog(server.url, host="acme").take, _events())

        with pytest.raises(Unreachable, match="no answer"):
            given.result(timeout=10)


def test_a_syslog_server_that_does_not_say_that_it_has_all_is_not_said_to_have_a_bad_certificate(ledger: Ledger, tmp_path: Path) -> None:
    ledger.writes(2)
    ledger.passes()
    certificate = certificate_in(tmp_path)
    with Listening(certificate=certificate, walks_off=True) as server, pytest.raises(Unreachable, match="did not end the connection as TLS is ended"):
        Syslog(server.url, host="acme", ca_file=str(certificate)).take(_events())


def test_a_line_break_in_a_name_makes_no_second_message(ledger: Ledger) -> None:
    ledger.does("shut account @ada\n<110>1 - - forged - - -:chat")
    ledger.passes()
    with Listening() as server:
        evidence.deliver(Syslog(server.url, host="a b\n"))

    assert len(server.messages) == 1
    assert "\n" not in server.messages[0]


@pytest.mark.parametrize("url", ["udp://host", "tcp://", "tls://host:99999", "tls://host/path", "tls://user@host", "host:514"])
def test_an_address_that_is_none_of_a_syslog_server_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured):
        Syslog(url, host="acme")


def _events() -> list[Event]:
    with transaction() as session:
        return siem.waiting(session, "acme", "anybody")


@responses.activate
def test_a_collector_gets_lines_of_json(ledger: Ledger) -> None:
    ledger.writes(3)
    ledger.passes()
    responses.post(COLLECTOR, status=202)

    evidence.deliver(Lines(COLLECTOR, token="s3cret"))

    sent = responses.calls[0].request
    assert [json.loads(line)["leaf"] for line in (sent.body or b"").splitlines()] == [0, 1, 2]
    assert sent.headers["Content-Type"] == "application/x-ndjson"
    assert sent.headers["Authorization"] == "Bearer s3cret"


@responses.activate
def test_a_collector_that_refuses_is_told_again_and_no_secret_is_in_the_error(ledger: Ledger) -> None:
    ledger.writes(3)
    ledger.passes()
    responses.post(COLLECTOR, status=403)

    with pytest.raises(Refused) as caught:
        Lines(COLLECTOR, token="s3cret").take(_events())
    assert evidence.deliver(Lines(COLLECTOR, token="s3cret")) == 0

    assert "s3cret" not in str(caught.value)
    place = _place("http")
    assert place is not None
    assert place.next == 0


@responses.activate
def test_what_a_collector_refuses_of_one_organisation_keeps_nobody_elses_waiting(ledger: Ledger) -> None:
    for organization_id in ("acme", "globex"):
        ledger.writes(3, organization_id)
    ledger.passes()

    def answer(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        assert isinstance(request.body, bytes)
        return 413 if b'"organization":"acme"' in request.body else 202, {}, ""

    responses.add_callback(responses.POST, COLLECTOR, callback=answer)

    assert evidence.deliver(Lines(COLLECTOR)) == 3

    with transaction() as session:
        places = [session.get_one(AuditDelivery, (one, "http")) for one in ("acme", "globex")]
        assert [(one.next, one.last_error is None) for one in places] == [(0, False), (3, True)]


def test_what_another_hand_made_unreadable_keeps_no_leaf_from_whoever_watches(ledger: Ledger) -> None:
    first, *_ = ledger.writes(3, before={"title": "nurse"})
    ledger.passes()
    unreadable = update(AuditLeaf).where(AuditLeaf.organization_id == "acme", AuditLeaf.number == 1).values(leaf='{"v":1,')
    tampered(unreadable, *garbled(first))
    pocket = Pocket()

    assert evidence.deliver(pocket) == 3

    assert [(one.said["leaf"], one.said["actor"], one.said.get("verb")) for one in pocket.taken] == [
        (0, "operator:grace", "joined"), (1, "operator:grace", None), (2, "operator:grace", "joined"),
    ]  # fmt: skip


def test_one_turn_does_all_of_it(installed: Flask, ledger: Ledger) -> None:
    ledger.writes(3)

    evidence.sequence(installed)
    evidence.hand_on(installed)

    assert len(ledger.sources()) == 3
    # The turn has made its keys by the clock of the machine.
    assert ledger.signs(key_of=now()).size == 3
