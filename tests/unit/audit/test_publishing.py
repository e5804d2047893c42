"""Checkpoints are handed on, and what was handed on once is never contradicted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import responses
from requests import PreparedRequest

from app.audit import checkpoints, publishing
from app.audit.publishing import Forked, Places, publish, published_in, witness
from app.audit.tree_tables import AuditCheckpoint
from app.commands import evidence
from app.database import transaction
from app.revocation.alarms import open_alarms
from connectors.contract import Misconfigured, Refused, Unreachable
from tests.unit.audit.evidence import history
from tests.unit.audit.growing import Ledger, later
from tests.unit.audit.listening import Listening

pytestmark = pytest.mark.slow

ADDRESS = "https://93.184.215.14/checkpoints"


@pytest.fixture
def published(ledger: Ledger) -> Iterator[Ledger]:
    """Two organisations with signed trees, and nobody who was tried in vain a moment ago."""
    for organization_id in ("acme", "globex"):
        history(ledger, organization_id)
    evidence._paused_until.clear()
    yield ledger
    evidence._paused_until.clear()


def sets(ledger: Ledger, **settings: Any) -> None:
    ledger.app.config["DOORLIST"] = replace(ledger.app.config["DOORLIST"], **settings)


def unpublished(organization_id: str) -> bool:
    with transaction() as session:
        return publishing.unpublished(session, organization_id) is not None


def _publish(made: AuditCheckpoint, places: Places) -> None:
    with transaction() as session:
        witness(made, places, lambda old, new: checkpoints.consistency(session, made.organization_id, old=old, new=new))
        publish(made, places)


def test_each_checkpoint_lies_in_the_folder_of_its_organisation(ledger: Ledger, tmp_path: Path) -> None:
    history(ledger)
    made = ledger.signs()

    _publish(made, Places(folder=tmp_path))
    _publish(made, Places(folder=tmp_path))

    assert (tmp_path / "acme" / "checkpoint").read_text() == made.note
    assert published_in(tmp_path, "acme") == [made.note]


def test_a_tree_that_has_grown_is_published_beside_what_it_grew_from(ledger: Ledger, tmp_path: Path) -> None:
    history(ledger)
    first = ledger.signs()
    _publish(first, Places(folder=tmp_path))
    history(ledger)
    second = ledger.signs()

    _publish(second, Places(folder=tmp_path))

    assert published_in(tmp_path, "acme") == [first.note, second.note]


def test_an_older_state_of_the_tree_is_not_published_over_a_newer_one(ledger: Ledger, tmp_path: Path) -> None:
    history(ledger)
    older = ledger.signs()
    history(ledger)
    newer = ledger.signs()
    _publish(newer, Places(folder=tmp_path))

    with pytest.raises(Forked, match="an older state of itself"):
        _publish(older, Places(folder=tmp_path))

    assert (tmp_path / "acme" / "checkpoint").read_text() == newer.note


def test_only_the_newest_waits_to_be_published(ledger: Ledger) -> None:
    history(ledger)

    with transaction() as session:
        newest = publishing.unpublished(session, "acme")
        assert newest is not None
        assert newest.size == 20
        publishing.note_published(session, newest, at=later(300))

    with transaction() as session:
        assert publishing.unpublished(session, "acme") is None


@responses.activate
def test_a_checkpoint_goes_to_an_address_with_its_token(ledger: Ledger) -> None:
    history(ledger)
    made = ledger.signs()
    responses.post(ADDRESS, status=204)

    _publish(made, Places(url=ADDRESS, token="s3cret"))

    sent = responses.calls[0].request
    assert json.loads(sent.body or "") == {"organization": "acme", "size": 20, "checkpoint": made.note}
    assert sent.headers["Authorization"] == "Bearer s3cret"


@responses.activate
def test_an_address_that_does_not_take_it_is_an_error_without_a_secret(ledger: Ledger) -> None:
    history(ledger)
    made = ledger.signs()
    for status, expected in ((403, Refused), (503, Unreachable)):
        responses.upsert(responses.POST, ADDRESS, status=status)
        with pytest.raises(expected) as caught:
            _publish(made, Places(url=ADDRESS, token="s3cret"))
        assert "s3cret" not in str(caught.value)


@responses.activate
def test_an_address_that_hangs_keeps_no_leaf_from_whoever_watches(published: Ledger) -> None:
    answers, asked = threading.Event(), threading.Event()
    let_go: list[bool] = []

    def hang(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        asked.set()
        let_go.append(answers.wait(20))
        return 204, {}, ""

    responses.add_callback(responses.POST, ADDRESS, callback=hang)
    with Listening() as server:
        sets(published, checkpoint_url=ADDRESS, siem_syslog=server.url)
        publishes = threading.Thread(target=evidence.publish_new, args=[published.app])
        publishes.start()
        assert asked.wait(10)

        evidence.hand_on(published.app)
        taken = len(server.messages)
        answers.set()
        publishes.join(20)

    assert taken == 40 and all(let_go), "nothing waited until it gave up"
    assert not unpublished("acme") and not unpublished("globex")


@responses.activate
def test_an_address_that_is_away_is_tried_once_for_all_organisations_and_the_folder_is_written_for_each(published: Ledger, tmp_path: Path) -> None:
    sets(published, checkpoint_url=ADDRESS, checkpoint_folder=tmp_path)
    responses.post(ADDRESS, status=503)

    evidence.publish_new(published.app)
    evidence.publish_new(published.app)
    tried = len(responses.calls)
    both = [len(published_in(tmp_path, one)) for one in ("acme", "globex")]
    waiting = [unpublished(one) for one in ("acme", "globex")]
    responses.upsert(responses.POST, ADDRESS, status=204)
    evidence._paused_until[evidence._CHECKPOINTS] = time.monotonic()
    evidence.publish_new(published.app)

    assert (tried, both, waiting) == (1, [1, 1], [True, True])
    assert not unpublished("acme") and not unpublished("globex")


def test_what_is_no_text_in_the_folder_is_an_alarm_and_keeps_nobody_elses_from_being_published(published: Ledger, tmp_path: Path) -> None:
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "checkpoint").write_bytes(b"\xff\xfe\x00")
    sets(published, checkpoint_folder=tmp_path)
    evidence._told.clear()

    evidence.publish_new(published.app)

    with transaction() as session:
        assert ["is no checkpoint" in one.sentence for one in open_alarms(session, "acme")] == [True]
        assert open_alarms(session, "globex") == []
    assert len(published_in(tmp_path, "globex")) == 1


def test_a_checkpoint_is_written_and_read_where_the_machine_speaks_ascii_alone(ledger: Ledger, tmp_path: Path) -> None:
    history(ledger)
    made = ledger.signs()
    assert not made.note.isascii()
    script = """
import locale, sys
from pathlib import Path
from app.audit.publishing import Places, publish, read_unsigned, witness
from app.audit.tree_tables import AuditCheckpoint
assert locale.getencoding() not in ("utf-8", "UTF-8"), locale.getencoding()
note = sys.stdin.buffer.read().decode()
said = read_unsigned(note)
made, places = AuditCheckpoint(organization_id="acme", size=said.size, root=said.root, note=note), Places(folder=Path(sys.argv[1]))
for _ in range(2):
    witness(made, places, lambda old, new: [])
    publish(made, places)
"""
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], input=made.note.encode(), capture_output=True, env=environment, timeout=60, check=False)

    assert ended.returncode == 0, ended.stderr.decode()
    assert (tmp_path / "acme" / "checkpoint").read_text(encoding="utf-8") == made.note


@pytest.mark.parametrize(("url", "token"), [("ftp://a.example", None), ("https://u@a.example", None), (ADDRESS, "s3cr\u00e9t"), (ADDRESS, "s3cret\nX: y")])
def test_a_place_that_could_never_be_reached_is_refused_before_anything_is_published(ledger: Ledger, url: str, token: str | None) -> None:
    sets(ledger, checkpoint_url=url, checkpoint_token=token)

    with pytest.raises(Misconfigured) as caught:
        evidence.places_of(ledger.app.config["DOORLIST"])

    assert "s3cr" not in str(caught.value)
