"""Having a directory say at once that something changed, as an administrator arranges it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import requests
from sqlalchemy import select

from app.clock import now
from app.commands.exits import Exit
from app.database import reading
from app.directory.tables import Source
from app.intake import notices, pulling
from app.lifecycle.pulled_tables import SourceState
from tests.served import served
from tests.sources import entra_arrangement, okta_arrangement
from tests.sources.entra_stand_in import CLIENT, SECRET, TENANT, EntraTenant, entra
from tests.sources.okta_stand_in import TOKEN, okta
from tests.unit.commands.conftest import Desk

pytestmark = pytest.mark.slow


@dataclass(frozen=True, kw_only=True)
class Reached:
    """A desk whose installation is reached under its public address."""

    desk: Desk
    url: str

    def adds_entra(self, tenant: EntraTenant) -> None:
        self.desk.asks(
            "source", "add", "entra", "tenant", "--url", tenant.url, "--tenant", TENANT, "--client-id", CLIENT, "--allow-private",
            "--secret-file", self.desk.file("secret", SECRET), "--option", f"login_url={tenant.url}",
        )  # fmt: skip

    def id_of(self, name: str) -> str:
        return next(str(one["id"]) for one in self.desk.asks("source", "list")["sources"] if one["name"] == name)

    def due(self) -> list[str]:
        with reading() as session:
            return [one.source_name for one in pulling.due(session, now())]


@pytest.fixture
def reached(desk: Desk, database_url: str, tmp_path: Path) -> Iterator[Reached]:
    with served(database_url, tmp_path) as made:
        desk.environment["DOORLIST_PUBLIC_URL"] = made.url
        yield Reached(desk=desk, url=made.url)


def test_okta_is_given_an_address_and_a_secret_that_are_good(reached: Reached) -> None:
    with okta() as organisation:
        ada, *_ = okta_arrangement.company(organisation)
        token = reached.desk.file("token", TOKEN)
        reached.desk.asks("source", "add", "okta", "corp", "--url", organisation.url, "--token-file", token, "--allow-private", "--every", "off")
        reached.desk.asks("source", "pull", "corp")

        said = reached.desk.asks("source", "hook", "corp")

        assert set(said) == {"schema", "name", "url", "ends", "secret"} and said["schema"] == "doorlist.source.hook/1"
        assert (said["name"], said["url"], said["ends"]) == ("corp", f"{reached.url}/sources/{reached.id_of('corp')}/events", None)
        asked = requests.get(said["url"], headers={"X-Okta-Verification-Challenge": "say this"}, timeout=5)
        assert asked.json() == {"verification": "say this"} and reached.due() == []
        told = requests.post(said["url"], json=events(ada), headers={"Authorization": said["secret"]}, timeout=5)
        assert told.status_code == 202 and reached.due() == ["corp"]
        assert reached.desk.asks("source", "hook", "corp") == said, "asked for again it is the same"


def events(*keys: str) -> dict[str, object]:
    some = [{"uuid": f"u-{key}", "eventType": "user.lifecycle.deactivate", "published": "2026-01-01T00:00:00.000Z", "target": [{"id": key, "type": "User"}]} for key in keys]
    return {"eventType": "com.okta.event_hook", "data": {"events": some}}


def test_what_is_to_be_entered_in_okta_is_shown_and_said_in_words(reached: Reached) -> None:
    reached.desk.asks("source", "add", "okta", "corp", "--url", "https://acme.okta.com", "--token-file", reached.desk.file("token", TOKEN))
    secret = reached.desk.asks("source", "hook", "corp")["secret"]

    said = reached.desk.types("source", "hook", "corp")

    assert said.exit == Exit.DONE and secret in said.out and TOKEN not in said.out + said.err
    assert "event hook in Okta" in said.err and "Authorization" in said.err


def test_graph_is_asked_to_subscribe_us_and_no_secret_is_shown(reached: Reached) -> None:
    with entra(page=3) as tenant:
        _, ada = entra_arrangement.company(tenant)
        reached.adds_entra(tenant)
        reached.desk.asks("source", "pull", "tenant")

        said = reached.desk.asks("source", "hook", "tenant")

        assert set(said) == {"schema", "name", "url", "ends"} and said["url"] == f"{reached.url}/sources/{reached.id_of('tenant')}/events"
        assert abs(datetime.fromisoformat(said["ends"]) - (now() + notices.LASTS)) < timedelta(minutes=1)
        assert {one["resource"]: one["notificationUrl"] for one in tenant.subscriptions.values()} == {"users": said["url"], "groups": said["url"]}
        assert reached.due() == []
        assert requests.post(said["url"], data=tenant.notify(ada), timeout=5).status_code == 202 and reached.due() == ["tenant"]


def test_where_graph_refuses_nothing_is_kept_and_the_sentence_says_why(reached: Reached) -> None:
    with entra() as tenant:
        reached.adds_entra(tenant)
        tenant.fails["/v1.0/subscriptions"] = (403, "Forbidden")

        said = reached.desk.types("source", "hook", "tenant", "--json")

        assert said.exit == Exit.ERROR and said.json["schema"] == "doorlist.error/1" and "403" in said.json["error"]
        with reading() as session:
            assert session.scalars(select(SourceState.subscriptions)).all() in ([], [None])


def test_a_directory_that_tells_nobody_says_so_and_is_pulled_as_scheduled(reached: Reached) -> None:
    reached.desk.asks("source", "add", "csv", "list", "--file", reached.desk.file("people.csv", "id,userName\n"))

    said = reached.desk.types("source", "hook", "list", "--json")

    assert said.exit == Exit.ERROR and "pulled as scheduled" in said.json["error"]
    assert reached.desk.types("source", "hook", "nobody", "--json").exit == Exit.ERROR


def test_helpdesk_learns_no_secret_of_a_hook(reached: Reached) -> None:
    reached.desk.asks("source", "add", "okta", "corp", "--url", "https://acme.okta.com", "--token-file", reached.desk.file("token", TOKEN))
    secret = reached.desk.asks("source", "hook", "corp")["secret"]

    for role in ("helpdesk", "auditor"):
        said = reached.desk.types("source", "hook", "corp", "--json", token=reached.desk.asks("operator", "add", role, "--role", role)["token"])
        assert said.exit == Exit.NOT_ALLOWED and secret not in said.out + said.err
    with reading() as session:
        assert session.scalars(select(Source.name)).all() == ["corp"]
