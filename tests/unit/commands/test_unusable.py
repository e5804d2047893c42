"""What nobody can use, numbers, instants, files and addresses, is said to be so: never as a fault of Doorlist itself."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from app.commands import audit
from tests.unit.commands.conftest import Desk

TOO_LARGE = "99999999999999999999"
BEYOND = ("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00")
UNREADABLE = "http://[::1"


@pytest.mark.parametrize(
    "typed",
    [
        *((*verb, number) for verb in (("run", "show"), ("run", "undo"), ("questions", "show")) for number in ("2147483648", TOO_LARGE)),
        ("questions", "answer", TOO_LARGE, "--new"),
        ("run", "show", "0"), ("expect-departures", TOO_LARGE, "--until", "2031-01-01T00:00:00Z"),
        *(("expect-departures", "1", "--until", instant) for instant in BEYOND), *(("depart", "ada", "--at", instant) for instant in BEYOND),
    ],
)  # fmt: skip
def test_a_number_or_an_instant_beyond_all_is_a_usage_error(desk: Desk, typed: tuple[str, ...]) -> None:
    assert desk.types(*typed, "--json").exit == 2


@pytest.mark.parametrize("number", ["1", "2147483647"])
@pytest.mark.parametrize(("verb", "what"), [("run", "run"), ("questions", "question")])
def test_a_number_that_nothing_has_is_not_found(desk: Desk, verb: str, what: str, number: str) -> None:
    said = desk.types(verb, "show", number, "--json")

    assert (said.exit, said.json["error"]) == (1, f"{what} {number} does not exist")


@pytest.mark.parametrize(
    "typed",
    [
        ("hr", "set", "workday", "--description"), ("hr", "set", "workday", "--secret-file"), ("hr", "set", "workday", "--credential-file"),
        ("source", "add", "hr", "other", "--description"), ("source", "add", "hr", "other", "--description", "gusto", "--secret-file"),
        ("connection", "add", "oidc", "google", "--issuer", "https://accounts.google.com", "--client-id", "x", "--client-secret-file"),
        ("signals", "transmitter", "add", "okta", "--issuer", "https://okta.example", "--jwks-uri", "https://okta.example/keys", "--authorization-file"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_text_is_named(desk: Desk, tmp_path: Path, typed: tuple[str, ...]) -> None:
    file = tmp_path / "binary"
    file.write_bytes(b"\xff\x00\xfe" * 10)

    said = desk.types(*typed, str(file), "--json")

    assert said.exit == 2 and f"{file} is no text in UTF-8" in said.json["error"]
    assert [one["name"] for one in desk.asks("source", "list")["sources"]] == []


@pytest.mark.parametrize(
    "typed",
    [
        ("signals", "transmitter", "add", "okta", "--issuer", UNREADABLE),
        ("signals", "transmitter", "add", "okta", "--issuer", "https://okta.example", "--jwks-uri", UNREADABLE),
        ("connection", "add", "oidc", "google", "--issuer", UNREADABLE, "--client-id", "x"),
        ("connection", "add", "saml", "acme", "--metadata", UNREADABLE),
        ("client", "add", "wiki", "--redirect-uri", UNREADABLE),
        ("alarms", "route", "add", "webhook", UNREADABLE),
    ],
)
def test_an_address_that_cannot_be_read_is_no_fault_of_ours(desk: Desk, typed: tuple[str, ...]) -> None:
    said = desk.types(*typed, "--json")

    assert said.exit in (1, 2)
    assert "a fault of Doorlist" not in said.json["error"] and "Traceback" not in said.err


def test_a_disk_that_is_full_is_said_by_the_file_that_it_had_no_room_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(audit, "write_export", full)
    out = desk.folder / "audit.jsonl"

    said = desk.types("audit", "export", "--out", str(out), "--json")

    assert (said.exit, said.json["error"]) == (1, f"{out}: No space left on device")
    assert not list(desk.folder.glob(".audit.jsonl.*"))


def test_an_export_that_comes_through_a_pipe_is_not_said_to_be_altered(desk: Desk) -> None:
    out, keys = desk.folder / "audit.jsonl", desk.file("keys.json", desk.types("keys", "export", "--json").out)
    desk.asks("audit", "export", "--out", str(out))
    read, write = os.pipe()
    os.write(write, out.read_bytes())
    os.close(write)

    said = desk.types("audit", "verify", f"/dev/fd/{read}", "--keys", keys, "--json")
    os.close(read)

    assert said.exit == 2
    assert "is no file: it is read twice" in said.json["error"]
