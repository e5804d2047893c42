"""Groups of a user who is off while another record keeps the person in: the directory reads them, and they put nobody into a channel."""

from __future__ import annotations

import pytest

from app.clock import now
from app.database import reading
from app.directory.tables import Standing, StatementKind, Voice
from app.rules.explain import explain
from tests.clients.directory import Directory
from tests.unit.delivery.crew import settle
from tests.unit.scim.choosing import (
    ON,
    approve_everything,
    employ_at,
    group_with,
    members_of,
    numbered,
    off,
    person_of,
    reject_everything,
    says,
    set_brake,
)
from tests.workspace import Workspace


@pytest.fixture
def workspace(directory: Directory) -> Workspace:
    employ_at(workspace := Workspace())
    return workspace


def channels(directory: Directory, workspace: Workspace) -> set[str]:
    """Those that the only person there is in, once all work is done."""
    settle(directory.app, workspace)
    [account] = workspace.accounts
    return workspace.names_of(account)


def second_account(directory: Directory) -> str:
    """A user whose person has another one in another directory, who is on."""
    directory.beside("entra").add_user("ada", **numbered("E-1"))
    return directory.add_user("ada", **numbered("E-1"))


def test_whoever_stays_by_another_record_is_in_no_channel_by_the_groups_of_the_one_that_is_off(directory: Directory, workspace: Workspace) -> None:
    ada = second_account(directory)
    group = group_with(directory, ada)
    assert channels(directory, workspace) == {"all-hands", f"group-{group}"}

    off(directory, ada)

    assert person_of(ada).standing == Standing.ACTIVE
    assert channels(directory, workspace) == {"all-hands"}
    assert members_of(directory, group) == [ada]


def test_whoever_asks_why_is_told_that_the_account_has_to_be_on(directory: Directory, workspace: Workspace) -> None:
    ada = second_account(directory)
    group_with(directory, ada)
    off(directory, ada)
    person = person_of(ada)

    with reading() as session:
        explained = explain(session, person.organization_id, person.id, None, now())

    assert "no: the person has no group by an account that is on" in [step.answer for step in explained.steps]


def test_the_groups_count_again_once_the_user_is_on_again(directory: Directory, workspace: Workspace) -> None:
    ada = second_account(directory)
    group = group_with(directory, ada)
    off(directory, ada)
    assert channels(directory, workspace) == {"all-hands"}

    directory.patch(f"/Users/{ada}", ON)

    assert channels(directory, workspace) == {"all-hands", f"group-{group}"}


def test_whoever_is_put_into_a_group_while_off_is_in_its_channel_no_sooner_than_on(directory: Directory, workspace: Workspace) -> None:
    ada = second_account(directory)
    off(directory, ada)

    group_with(directory, ada)

    assert channels(directory, workspace) == {"all-hands"}


def test_an_off_that_is_held_leaves_the_groups_until_it_is_let_through(directory: Directory, workspace: Workspace) -> None:
    ada = second_account(directory)
    group = group_with(directory, ada)
    set_brake("0/60s")
    off(directory, ada)
    assert channels(directory, workspace) == {"all-hands", f"group-{group}"}

    approve_everything()

    assert channels(directory, workspace) == {"all-hands"}


def test_an_off_that_was_rejected_leaves_the_groups(directory: Directory, workspace: Workspace) -> None:
    ada = second_account(directory)
    group = group_with(directory, ada)
    set_brake("0/60s")
    off(directory, ada)

    reject_everything()

    assert channels(directory, workspace) == {"all-hands", f"group-{group}"}


def test_whom_an_operator_lets_in_though_no_record_is_on_is_in_the_groups_that_were_left_to_them(
    directory: Directory, workspace: Workspace
) -> None:
    ada = directory.add_user("ada")
    group = group_with(directory, ada)
    off(directory, ada)

    says(person_of(ada), Voice.OPERATOR, StatementKind.RETURNS)

    assert channels(directory, workspace) == {"all-hands", f"group-{group}"}
