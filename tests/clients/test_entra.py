"""Entra as it comes over the wire: both of its PATCH dialects, groups, soft and hard delete, and its validator's requests."""

from pathlib import Path

from tests.clients.directory import directory_on
from tests.clients.transcript import play


def test_every_step_that_entra_relies_on_is_answered_as_it_expects(database_url: str, tmp_path: Path) -> None:
    with directory_on(database_url, tmp_path) as directory:
        outcomes = play("entra", directory, token=directory.token, base=directory.base)

    unmet = [str(outcome) for outcome in outcomes if outcome.failures]
    assert not unmet, "\n".join(unmet)
    assert len(outcomes) == 130
