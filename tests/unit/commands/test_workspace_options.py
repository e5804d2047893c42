"""What is said of how a workspace is reached, as an administrator types it."""

from pathlib import Path

import pytest
from sqlalchemy import select, update

from app.access.tables import Workspace
from app.database import reading
from tests.unit.commands.conftest import Desk

pytestmark = pytest.mark.slow

ADD = ("workspace", "add", "matrix", "chat", "--url", "https://chat.example")


def _options(desk: Desk) -> list[dict[str, object]]:
    with desk.app.app_context(), reading() as session:
        return [dict(one) for one in session.scalars(select(Workspace.options))]


@pytest.mark.parametrize("typed", ["server_nam=chat.example", "ca-file=/etc/ssl/our-ca.pem", "=x"])
def test_an_option_that_no_workspace_knows_is_refused_instead_of_kept_in_silence(desk: Desk, typed: str) -> None:
    token = desk.file("token", "s3cret")

    added = desk.types(*ADD, "--token-file", token, "--option", typed, "--json")
    desk.asks(*ADD, "--token-file", token)
    changed = desk.types("workspace", "set", "chat", "--option", typed, "--json")

    for said in (added, changed):
        assert said.exit == 2 and "known are ca_file, server_name" in said.json["error"]
    assert _options(desk) == [{}]


def test_an_option_that_was_kept_in_silence_once_can_be_taken_away(desk: Desk) -> None:
    desk.asks(*ADD, "--token-file", desk.file("token", "s3cret"))
    desk.acts(lambda session: session.execute(update(Workspace).values(options={"server_nam": "chat.example"})))

    desk.asks("workspace", "set", "chat", "--option", "server_nam=")

    assert _options(desk) == [{}]


def test_a_file_of_authorities_is_found_from_wherever_what_delivers_was_started(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # It may lead to another one next year.
    (tmp_path / "our-ca.pem").symlink_to(tmp_path / "of this year.pem")

    desk.asks(*ADD, "--token-file", desk.file("token", "s3cret"), "--option", "ca_file=our-ca.pem")
    added = _options(desk)
    desk.asks("workspace", "set", "chat", "--option", "ca_file=../other-ca.pem")

    assert added == [{"ca_file": str(tmp_path / "our-ca.pem")}]
    assert _options(desk) == [{"ca_file": str(tmp_path.parent / "other-ca.pem")}]
