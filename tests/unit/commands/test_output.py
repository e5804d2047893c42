"""How a verb's answer looks on a terminal: whatever its width, nothing of it is lost."""

from __future__ import annotations

import sys
from io import BytesIO, TextIOWrapper

import pytest

from app.commands import output
from app.commands.output import Answer, Table, show, spell_out

TOKEN = "dl_fCShh6DSkcAvLz80kLHrXRTXMOJabLz80kLHrXRTXMO"
ADDRESS = "https://id.acme.example/scim/v2/01a22a8c-4678-775c-bbfb-89287f0e7139"
HELD = ("ec3b475028b9811b", "okta", 5, "2026-11-30T03:49:07.522Z", "okta took access from more people than [push_brake] = 50/60s allows; the excess waits")


def drawn(table: Table, *, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    show(Answer(schema="test", tables=[table]), as_json=False)
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_token_that_is_shown_this_once_is_whole(width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    added = Table(columns=("name", "base_url", "token"), rows=[("okta", ADDRESS, TOKEN)])

    shown = drawn(added, width=width, monkeypatch=monkeypatch, capsys=capsys)

    assert {TOKEN, ADDRESS} <= set(shown.split())


@pytest.mark.parametrize("width", [*range(30, 180, 7)])
def test_every_word_is_whole_and_in_its_column_while_that_can_be(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held = Table(columns=("digest", "source", "how many people", "since", "reason"), rows=[HELD, (*HELD[:4], "Zoë 営業部")])

    shown = drawn(held, width=width, monkeypatch=monkeypatch, capsys=capsys)

    assert {word for cell in HELD for word in str(cell).split()} <= set(shown.split())
    assert "many" in shown


def test_a_table_of_words_has_its_heads_above_each_other_rather_than_words_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    timed = Table(columns=("account at the workspace", "when it was shut"), rows=[("@ada:chat.example", "2026-11-30T03:49:07.522Z")])

    shown = drawn(timed, width=50, monkeypatch=monkeypatch, capsys=capsys)

    assert ["@ada:chat.example", "2026-11-30T03:49:07.522Z"] in [line.split() for line in shown.splitlines()]


def test_a_table_without_rows_shows_its_heads(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    empty = Table(columns=("id", "workspace", "what went wrong"), rows=[])

    assert "workspace" in drawn(empty, width=80, monkeypatch=monkeypatch, capsys=capsys)


@pytest.mark.parametrize("on_a_terminal", [False, True])
@pytest.mark.parametrize(("encoding", "errors", "shown"), [
    ("iso-8859-1", "strict", "Zoë \\u55b6\\u696d\\U0001f600"), ("utf-8", "strict", "Zoë 営業\U0001f600"), ("utf-8", "surrogateescape", "Zoë 営業\U0001f600"),
])  # fmt: skip
def test_a_name_that_the_terminal_has_no_letters_for_is_spelled_out(
    encoding: str, errors: str, shown: str, on_a_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(seen, encoding=encoding, errors=errors, write_through=True))
    monkeypatch.setattr(output, "is_terminal", lambda: on_a_terminal)

    spell_out()
    show(Answer(schema="test", tables=[Table(columns=("name", "id"), rows=[("Zoë 営業\U0001f600", "1"), ("Ada", "2")])]), as_json=False)

    assert shown in seen.getvalue().decode(encoding)
    assert "Ada" in seen.getvalue().decode(encoding)
