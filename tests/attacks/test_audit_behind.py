"""A04: somebody stops the log, and gets in while nobody could show it later. Nothing new is given until it has caught up; leavers go out."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from app.access.session_tables import DeviceRequest, Grant
from app.clock import now
from app.database import reading
from app.directory.tables import Record
from app.settings import SettingError, from_environment
from connectors.contract import AccountState
from tests.company import Company
from tests.handsets import handset_of, new_client
from tests.lagging import audit_may_lag
from tests.unit.delivery.crew import crew, employ, make_everything_due, settle
from tests.unit.sso.providing import House, application_in, change, house_of, said_back
from tests.unit.sso.test_provider_devices import begins, polls
from tests.vouching import caught_up
from tests.workspace import Workspace


@pytest.fixture
def house(installed: Flask) -> House:
    made = house_of(installed)
    caught_up(now())
    audit_may_lag(installed)
    return made


def log_stops(company: Company) -> Record:
    """Something was written down long ago, and nobody has come for it since."""
    caught_up(now())
    return company.joins("late@northwind.example", "E-late")


def grants() -> int:
    with reading() as session:
        return session.scalar(select(func.count()).select_from(Grant)) or 0


def test_a04_nobody_enters_an_application_anew_and_it_is_told_to_try_again(house: House) -> None:
    log_stops(house.company)

    refused = said_back(house.ada.enters(house.application))
    given = grants()
    caught_up(now())

    assert (refused["error"], refused["state"]) == ("temporarily_unavailable", "a state") and "code" not in refused
    assert given == 0
    assert house.ada.code_for(house.application), "and who is signed in stays so"


def test_a04_no_device_is_let_in_and_it_waits_on(house: House) -> None:
    television = application_in(house.app, house.company, name="television", redirect_uris=(), device_flow=True, public=True)
    begun = begins(television)
    log_stops(house.company)

    refused = house.ada.browses("/device", method="POST", user_code=begun["user_code"], answer="yes")
    waits = (polls(television, begun).json or {})["error"]
    caught_up(now())
    house.ada.browses("/device", method="POST", user_code=begun["user_code"], answer="yes")
    change(update(DeviceRequest).values(polled_at=None))

    assert refused.status_code == 503 and waits == "authorization_pending"
    assert polls(television, begun).status_code == 200


def test_a04_no_device_is_enrolled_and_one_that_is_stays_and_takes_another_push_token(installed: Flask, house: House) -> None:
    client_id = new_client(house.company, "mobile")
    old, new = (handset_of(installed, house.company, house.ada.id, client_id) for _ in range(2))
    old.enrols(push=None)
    log_stops(house.company)

    refused = new.calls("POST", "/devices", {"name": "new"})

    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "60")
    old.enrols(name="Renamed")
    assert [(one["name"], one["push"]) for one in old.sees()] == [("Renamed", "apns")]
    caught_up(now())
    assert new.enrols(push=None)


def test_what_was_given_before_goes_on_so_that_a_log_that_stands_still_for_a_while_signs_nobody_out(house: House) -> None:
    tokens = house.ada.tokens_for(house.application, scope="openid offline_access")
    code = house.ada.code_for(house.application)
    log_stops(house.company)

    refreshed = house.application.refreshes(tokens["refresh_token"])
    exchanged = house.application.exchanges(code)

    assert (refreshed.status_code, exchanged.status_code) == (200, 200)
    assert house.application.is_good((refreshed.json or {})["access_token"])
    assert house.ada.browses("/session").status_code == 200
    house.ada.departs()
    assert house.application.refreshes((refreshed.json or {})["refresh_token"]).status_code == 400


def test_a04_nobody_gets_an_account_and_leavers_lose_theirs(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada = company.joins("ada@northwind.example", "E-1")
    settle(installed, workspace)
    caught_up(now())
    audit_may_lag(installed)
    company.joins("bob@northwind.example", "E-2")
    company.says(ada, active=False, at=now())

    for _ in range(20):
        crew(installed, workspace).run_until_idle()
        make_everything_due()
    while_behind = {account.person_id == ada.person_id: account.state for account in workspace.accounts.values()}
    caught_up(now())
    settle(installed, workspace)

    assert while_behind == {True: AccountState.DEACTIVATED}
    assert sorted(account.state for account in workspace.accounts.values()) == [AccountState.ACTIVE, AccountState.DEACTIVATED]


@pytest.mark.parametrize("lag", ["1e9", "inf", "nan", "3601", "4"])
def test_a04_no_setting_lets_the_log_stand_still_for_ever(lag: str) -> None:
    with pytest.raises(SettingError):
        from_environment({"DOORLIST_AUDIT_LAG": lag})
