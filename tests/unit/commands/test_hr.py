"""HR systems on the command line: a description tried on a sample, and one connected, changed, linked and polled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hr_vendor import SAMPLES
from tests.unit.commands.conftest import Desk


def test_a_description_that_is_not_shipped_is_tried_on_its_sample(desk: Desk) -> None:
    said = desk.asks("hr", "test", str(SAMPLES / "deel.yaml"), str(SAMPLES / "deel_contract_terminated.json"))

    assert {name: said[name] for name in ("event", "person", "at", "would_do")} == {
        "event": "leaves at", "person": "D-77", "at": "2026-11-30T23:00:00.000Z", "would_do": "end their access at 2026-11-30T23:00:00.000Z",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("vendor", "name", "event", "would_do"),
    [
        ("standard_webhooks", "standard_webhooks_employee_terminated", "revoke now", "end their access at once"),
        (
            "rippling",
            "rippling_employee_deleted",
            "revoke now",
            "ask Rippling about 656992816f26d6caea00072c first, for nobody signed this",
        ),
        ("bamboohr", "bamboohr_employee_updated_event", "changed", "ask BambooHR about 20417 first"),
        ("gusto", "gusto_verification_handshake", "handshake", "take it as the secret once it is accepted there"),
        ("hibob", "hibob_ping_test", "ping", "nothing"),
        ("workday", "workday_raas_terminations", "leaves at", "end their access at once"),
        (str(SAMPLES / "deel.yaml"), "deel_contract_terminated_simulation", "test", "nothing"),
    ],
)
def test_a_shipped_description_says_what_it_would_do(desk: Desk, vendor: str, name: str, event: str, would_do: str) -> None:
    said = desk.asks("hr", "test", vendor, str(SAMPLES / f"{name}.json"))

    assert said["event"] == event
    assert would_do in str(said["would_do"])


def test_a_sample_whose_signature_does_not_fit_would_do_nothing(desk: Desk, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt.json"
    spoilt.write_text((SAMPLES / "hibob_employee_left.json").read_text().replace("employee.left", "employee.lefd"))

    said = desk.types("hr", "test", "hibob", str(spoilt), "--json")

    assert said.exit == 1
    assert said.json["event"] is None
    assert str(said.json["would_do"]).startswith("nothing: the signature is refused")


@pytest.mark.parametrize("clock", [10**30, -(10**30), "soon", None])
def test_a_sample_whose_clock_no_calendar_has_is_wrongly_given(desk: Desk, tmp_path: Path, clock: object) -> None:
    document = json.loads((SAMPLES / "hibob_employee_left.json").read_text())
    document["_meta"]["test_clock_unix"] = clock
    (tmp_path / "odd.json").write_text(json.dumps(document))

    said = desk.types("hr", "test", "hibob", str(tmp_path / "odd.json"), "--json")

    assert (said.exit, "test_clock_unix" in str(said.json["error"])) == (2, True)


def test_a_mistake_in_a_description_names_its_line_and_connects_nothing(desk: Desk, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("vendor: Acme\nsignature: {scheme: hmacc}\n")

    said = desk.types("source", "add", "hr", "acme", "--description", str(wrong), "--json")

    assert said.exit == 2
    assert "line 2, signature.scheme" in str(said.json["error"])
    assert desk.asks("source", "list")["sources"] == []


@pytest.mark.parametrize("typed", [("source", "add", "hr", "people", "--description", "BambooHR"), ("hr", "test", "BambooHR", "sample.json")])
def test_a_name_that_no_description_has_is_answered_with_those_that_there_are(desk: Desk, typed: tuple[str, ...]) -> None:
    said = desk.types(*typed, "--json")

    assert said.exit == 2
    assert "'BambooHR'" in said.json["error"] and "there are bamboohr, gusto, hibob" in said.json["error"]


def test_a_system_is_connected_by_its_description_changed_and_shown_without_its_secrets(desk: Desk, tmp_path: Path) -> None:
    secret, credential = tmp_path / "secret", tmp_path / "credential"
    secret.write_text("given-by-the-vendor\n")
    credential.write_text("api-key-0001\n")

    made = desk.asks("source", "add", "hr", "people", "--description", "bamboohr", "--secret-file", str(secret), "--set", "company=acme")
    desk.asks("hr", "set", "people", "--credential-file", str(credential), "--secret-file", str(secret))

    assert (made["secret"], str(made["url"]).endswith(f"/hr/{made['id']}")) == ("given-by-the-vendor", True)
    shown = desk.asks("hr", "list")
    assert shown["systems"] == [{"id": made["id"], "name": "people", "vendor": "BambooHR", "heard": None, "polled": None, "credential": True, "error": None}]  # fmt: skip


def test_a_name_in_the_address_leads_to_no_other_host(desk: Desk) -> None:
    said = desk.types("source", "add", "hr", "people", "--description", "bamboohr", "--set", "company=evil.example/x?", "--json")

    assert said.exit == 2
    assert desk.asks("source", "list")["sources"] == []


def test_a_name_that_no_address_has_is_not_taken_in_silence(desk: Desk) -> None:
    said = desk.types("source", "add", "hr", "people", "--description", "bamboohr", "--set", "compani=acme", "--json")

    assert (said.exit, "no address of BambooHR has {compani} in it; there is company" in str(said.json["error"])) == (2, True)
    assert desk.asks("source", "list")["sources"] == []
    desk.asks("source", "add", "hr", "people", "--description", "bamboohr")
    changed = desk.types("hr", "set", "people", "--set", "compani=acme", "--json")
    assert (changed.exit, "there is company" in str(changed.json["error"])) == (2, True)
    desk.asks("hr", "set", "people", "--description", "workday", "--set", "tenant=acme", "--set", "report=Leavers")


def test_an_id_of_the_vendor_is_linked_to_a_person(desk: Desk) -> None:
    person_id = desk.hires(desk.directory(), "ada", number="0042")
    desk.asks("source", "add", "hr", "people", "--description", "bamboohr")

    said = desk.asks("hr", "link", "people", "20417", "0042")

    assert (said["key"], said["person"]) == ("20417", person_id)


DESCRIBED = """\
vendor: Acme
api: {url: "https://{host}/v1", credential: bearer}
poll: {path: /people, every: 15 minutes}
record:
  key: id
  number: number
  means:
    - {when: {status: left}, event: revoke now}
"""


def test_a_stored_credential_is_not_shown_to_another_server(desk: Desk, tmp_path: Path) -> None:
    here, there, credential = tmp_path / "here.yaml", tmp_path / "there.yaml", tmp_path / "credential"
    credential.write_text("api-key-0001\n")
    here.write_text(DESCRIBED)
    there.write_text(DESCRIBED.replace("{host}", "hr.evil.example"))
    desk.asks("source", "add", "hr", "people", "--description", str(here), "--credential-file", str(credential), "--set", "host=hr.acme.example")

    for changed in (("--set", "host=hr.evil.example"), ("--description", str(there))):
        said = desk.types("hr", "set", "people", *changed, "--json")

        assert said.exit == 1
        assert "give the secret for it too (--credential-file)" in str(said.json["error"])
        # It goes along where it is given again; then back for the next.
        desk.asks("hr", "set", "people", *changed, "--credential-file", str(credential))
        desk.asks("hr", "set", "people", "--description", str(here), "--set", "host=hr.acme.example", "--credential-file", str(credential))
