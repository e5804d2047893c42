"""Sources that call: who they are is proved, what they say is not acted on, and the source is pulled at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import requests

from app.actors import Actor, ActorKind
from app.clock import iso, now
from app.commands import turns
from app.commands.turns import follow_sources
from app.database import in_transaction, reading
from app.directory.tables import Source
from app.intake import notices, pull_state, pulling
from app.lifecycle.pulled_tables import SourceState
from app.lifecycle.sources import add_pulled_source
from app.settings import Settings
from connectors.contract import ConnectorError, Refused
from connectors.source_contract import Source as Opened
from tests.company import ADMIN, Company, new_company
from tests.served import Served, served
from tests.sources import entra_arrangement, okta_arrangement
from tests.sources.entra_stand_in import CLIENT, SECRET, TENANT, EntraTenant, entra
from tests.sources.okta_stand_in import TOKEN, okta
from tests.waiting import until

pytestmark = pytest.mark.slow

PULLER = Actor(kind=ActorKind.SOURCE, name="puller")


@pytest.fixture
def stage(database_url: str, tmp_path: Path) -> Iterator[Served]:
    with served(database_url, tmp_path) as made:
        yield made


def settings_of(stage: Served) -> Settings:
    settings: Settings = stage.app.config["DOORLIST"]
    return settings


def source(stage: Served, company: Company, kind: str, *, url: str, secret: str, every: str = "15m", full_every: str = "24h", **options: str) -> Source:
    reached = {"url": url, "options": {"allow_private": "true", **options}, "every": every, "full_every": full_every}
    return in_transaction(
        lambda session: add_pulled_source(
            session, company.organization_id, f"{kind} directory", kind=kind, reached=reached, secret=secret, settings=settings_of(stage), actor=ADMIN, at=now()
        )
    )


def state(one: Source) -> SourceState:
    with reading() as session:
        return session.get_one(SourceState, (one.organization_id, one.id))


def due(one: Source, *, at: datetime | None = None) -> bool:
    with reading() as session:
        return any(turn.source_name == one.name for turn in pulling.due(session, at or now()))


def pull(stage: Served, one: Source) -> pulling.Outcome:
    return pulling.pull(settings_of(stage), one.organization_id, one.name, actor=PULLER)


def listed(stage: Served, tenant: EntraTenant, one: Source) -> bool:
    """Whether a pull reads everybody, and not only what changed."""
    tenant.asked.clear()
    pull(stage, one)
    return "GET /v1.0/users" in tenant.asked


def lifecycle(stage: Served, tenant: EntraTenant, one: Source, event: str) -> str:
    """Graph says this of one of its subscriptions; returns which."""
    subscription, made = next(iter(tenant.subscriptions.items()))
    told = {"value": [{"subscriptionId": subscription, "clientState": made["clientState"], "lifecycleEvent": event, "tenantId": TENANT}]}
    assert requests.post(notices.address_of(settings_of(stage), one), json=told, timeout=5).status_code == 202
    return subscription


def event(*keys: str) -> bytes:
    events = [
        {
            "uuid": f"u-{key}", "eventType": "user.lifecycle.deactivate", "published": "2026-01-01T00:00:00.000Z",
            "target": [{"id": key, "type": "User"}],
        }
        for key in keys
    ]  # fmt: skip
    return json.dumps({"eventType": "com.okta.event_hook", "data": {"events": events}}).encode()


def test_okta_asks_whether_the_address_is_ours_and_its_events_have_the_source_pulled_at_once(stage: Served) -> None:
    with okta() as organisation:
        ada, *_ = okta_arrangement.company(organisation)
        one = source(stage, new_company(), "okta", url=organisation.url, secret=TOKEN)
        assert pull(stage, one).joined == 3 and not due(one)
        hook = notices.begin(settings_of(stage), one.organization_id, one.name, at=now())

        asked = requests.get(hook.url, headers={"X-Okta-Verification-Challenge": "say this"}, timeout=5)
        told = requests.post(hook.url, data=event(ada), headers={"Authorization": hook.secret}, timeout=5)

        assert asked.json() == {"verification": "say this"} and told.status_code == 202
        assert due(one)


@pytest.mark.parametrize("given", [{}, {"Authorization": "guessed"}, {"Authorization": ""}])
def test_whoever_cannot_prove_themselves_has_nothing_pulled(stage: Served, given: dict[str, str]) -> None:
    with okta() as organisation:
        okta_arrangement.company(organisation)
        one = source(stage, new_company(), "okta", url=organisation.url, secret=TOKEN)
        pull(stage, one)
        hook = notices.begin(settings_of(stage), one.organization_id, one.name, at=now())

        told = requests.post(hook.url, data=event("u"), headers=given, timeout=5)

        assert told.status_code == 401 and told.headers["Content-Type"] == "application/problem+json" and not due(one)


def test_without_the_encryption_key_nothing_is_taken_and_it_may_come_again(stage: Served) -> None:
    with okta() as organisation:
        one = source(stage, new_company(), "okta", url=organisation.url, secret=TOKEN)
        hook = notices.begin(settings_of(stage), one.organization_id, one.name, at=now())
        key = settings_of(stage).home / "encryption.key"
        key.rename(key.with_suffix(".away"))

        told = requests.post(hook.url, data=event("u"), headers={"Authorization": hook.secret}, timeout=5)

        assert told.status_code == 503 and told.headers["Content-Type"] == "application/problem+json"
        key.with_suffix(".away").rename(key)
        assert requests.post(hook.url, data=event("u"), headers={"Authorization": hook.secret}, timeout=5).status_code == 202


def test_the_secret_is_another_for_each_source(stage: Served) -> None:
    with okta() as organisation:
        mine, theirs = (source(stage, new_company(), "okta", url=organisation.url, secret=TOKEN) for _ in range(2))
        hook, other = (notices.begin(settings_of(stage), one.organization_id, one.name, at=now()) for one in (mine, theirs))

        told = requests.post(hook.url, data=event("u"), headers={"Authorization": other.secret}, timeout=5)

        assert hook.secret != other.secret and told.status_code == 401


def test_what_is_no_event_is_refused_and_names_nobody(stage: Served) -> None:
    with okta() as organisation:
        one = source(stage, new_company(), "okta", url=organisation.url, secret=TOKEN)
        hook = notices.begin(settings_of(stage), one.organization_id, one.name, at=now())

        told = [requests.post(hook.url, data=body, headers={"Authorization": hook.secret}, timeout=5).status_code for body in (b"", b"[]", b"\xff", b"{}")]
        nowhere = [requests.request(how, f"{stage.url}/sources/nobody/events", timeout=5).status_code for how in ("GET", "POST")]

        assert told[:3] == [400] * 3 and nowhere == [404, 404]


def test_a_notice_during_a_pull_has_the_source_pulled_again(stage: Served) -> None:
    with okta() as organisation:
        ada, *_ = okta_arrangement.company(organisation)
        one = source(stage, new_company(), "okta", url=organisation.url, secret=TOKEN)
        hook = notices.begin(settings_of(stage), one.organization_id, one.name, at=now())

        def opened_while_told(settings: Settings, source: Source) -> Opened:
            requests.post(hook.url, data=event(ada), headers={"Authorization": hook.secret}, timeout=5)
            return pulling.open_source_of(settings, source)

        pulling.pull(settings_of(stage), one.organization_id, one.name, actor=PULLER, opening=opened_while_told)

        assert due(one)


def test_graph_is_subscribed_and_its_notices_have_the_source_pulled(stage: Served) -> None:
    with entra(page=3) as tenant:
        _, ada = entra_arrangement.company(tenant)
        one = tenant_source(stage, tenant)
        assert pull(stage, one).joined == 2 and not due(one)
        ends = now() + notices.LASTS

        hook = notices.begin(settings_of(stage), one.organization_id, one.name, at=now())

        assert hook.secret == "" and hook.ends_at is not None and abs(hook.ends_at - ends) < timedelta(minutes=1)
        assert {said["resource"] for said in tenant.subscriptions.values()} == {"users", "groups"}
        assert requests.post(hook.url, data=tenant.notify(ada, client_state="guessed"), timeout=5).status_code == 401 and not due(one)
        assert requests.post(hook.url, data=tenant.notify(ada), timeout=5).status_code == 202 and due(one)


def test_a_validation_token_is_said_back_as_plain_text_and_never_as_a_page(stage: Served) -> None:
    with entra() as tenant:
        one = tenant_source(stage, tenant)
        url = notices.address_of(settings_of(stage), one)

        said = requests.post(url, params={"validationToken": "<script>1</script>"}, timeout=5)

        assert said.text == "<script>1</script>" and said.headers["Content-Type"].startswith("text/plain")
        assert said.headers["X-Content-Type-Options"] == "nosniff"
        assert requests.post(url, params={"validationToken": "a\r\nb"}, timeout=5).status_code == 400


def test_subscriptions_are_renewed_before_they_end_and_made_anew_once_they_have(stage: Served) -> None:
    with entra() as tenant:
        entra_arrangement.company(tenant)
        one = tenant_source(stage, tenant)
        settings, where = settings_of(stage), (one.organization_id, one.name)
        notices.begin(settings, *where, at=now())
        first = dict(state(one).subscriptions or {})

        assert not notices.renew(settings, *where, at=now())
        assert notices.renew(settings, *where, at=now() + notices.LASTS - timedelta(days=1))
        kept = state(one).subscriptions or {}
        assert set(kept) == set(first) and min(kept.values()) > max(first.values())

        tenant.subscriptions.clear()
        assert notices.renew(settings, *where, at=now() + 2 * notices.LASTS)
        assert len(tenant.subscriptions) == 2


def test_what_graph_tells_us_by_is_renewed_in_time_by_a_source_that_is_only_pulled_by_hand(stage: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    with entra() as tenant:
        entra_arrangement.company(tenant)
        one = tenant_source(stage, tenant, every="off")
        pull(stage, one)
        begun = now()
        notices.begin(settings_of(stage), one.organization_id, one.name, at=begun)
        first = dict(state(one).subscriptions or {})

        assert not due(one)
        soon = begun + notices.LASTS - pull_state.RENEWED + timedelta(minutes=1)
        assert due(one, at=soon)
        monkeypatch.setattr(turns, "now", lambda: soon)
        follow_sources(stage.app)

        assert until(lambda: min((state(one).subscriptions or first).values()) > max(first.values()))
        assert not due(one, at=soon) and due(one, at=soon + notices.LASTS)


def test_where_graph_lost_notices_all_of_it_is_read(stage: Served) -> None:
    with entra() as tenant:
        entra_arrangement.company(tenant)
        one = tenant_source(stage, tenant)
        pull(stage, one)
        notices.begin(settings_of(stage), one.organization_id, one.name, at=now())

        lifecycle(stage, tenant, one, "missed")

        assert due(one) and state(one).full_at is None


@pytest.mark.parametrize("full_every", ["24h", "off"])
def test_where_graph_lost_notices_people_are_listed_however_seldom_they_are_otherwise(stage: Served, full_every: str) -> None:
    with entra() as tenant:
        _, ada = entra_arrangement.company(tenant)
        one = tenant_source(stage, tenant, full_every=full_every)
        pull(stage, one)
        hook = notices.begin(settings_of(stage), one.organization_id, one.name, at=now())

        assert requests.post(hook.url, data=tenant.notify(ada), timeout=5).status_code == 202
        assert not listed(stage, tenant, one)

        lifecycle(stage, tenant, one, "missed")
        assert listed(stage, tenant, one) and not due(one)
        assert not listed(stage, tenant, one)


def test_a_subscription_that_graph_wants_to_be_renewed_is_renewed_by_the_pull_that_follows(stage: Served) -> None:
    with entra() as tenant:
        entra_arrangement.company(tenant)
        one = tenant_source(stage, tenant)
        pull(stage, one)
        notices.begin(settings_of(stage), one.organization_id, one.name, at=now())
        before = set(state(one).subscriptions or {})
        tenant.asked.clear()

        subscription = lifecycle(stage, tenant, one, "reauthorizationRequired")
        assert due(one)
        follow_sources(stage.app)

        assert until(lambda: all(ends > (iso(now()) or "") for ends in (state(one).subscriptions or {}).values()))
        assert f"PATCH /v1.0/subscriptions/{subscription}" in tenant.asked and not due(one)
        assert set(state(one).subscriptions or {}) == before == set(tenant.subscriptions)


def test_a_subscription_that_graph_has_ended_is_made_anew_by_the_pull_that_follows(stage: Served) -> None:
    with entra() as tenant:
        _, ada = entra_arrangement.company(tenant)
        one = tenant_source(stage, tenant)
        pull(stage, one)
        hook = notices.begin(settings_of(stage), one.organization_id, one.name, at=now())

        ended = lifecycle(stage, tenant, one, "subscriptionRemoved")
        assert ended not in (state(one).subscriptions or {}) and state(one).full_at is None
        del tenant.subscriptions[ended]
        follow_sources(stage.app)

        assert until(lambda: len(state(one).subscriptions or {}) == 2)
        made = [said["resource"] for key, said in tenant.subscriptions.items() if key in (state(one).subscriptions or {})]
        assert sorted(made) == ["groups", "users"] and not due(one)
        assert requests.post(hook.url, data=tenant.notify(ada), timeout=5).status_code == 202 and due(one)


def test_a_source_that_cannot_be_read_is_tried_no_sooner_for_what_it_tells(stage: Served) -> None:
    with okta() as organisation:
        ada, *_ = okta_arrangement.company(organisation)
        one = source(stage, new_company(), "okta", url=organisation.url, secret="wrong")
        hook = notices.begin(settings_of(stage), one.organization_id, one.name, at=now())
        with pytest.raises(ConnectorError):
            pull(stage, one)
        turn = state(one).next_at
        assert turn is not None and not due(one)

        told = requests.post(hook.url, data=event(ada), headers={"Authorization": hook.secret}, timeout=5)

        assert told.status_code == 202 and not due(one) and state(one).next_at == turn
        with reading() as session:
            assert [found.source_name for found in pulling.due(session, turn)] == [one.name]


def test_a_source_that_calls_nobody_says_so(stage: Served) -> None:
    with okta() as organisation:
        one = source(stage, new_company(), "csv", url="/nowhere.csv", secret="")

        with pytest.raises(Refused, match="pulled as scheduled"):
            notices.begin(settings_of(stage), one.organization_id, one.name, at=now())
        assert organisation.url


def tenant_source(stage: Served, tenant: EntraTenant, *, every: str = "15m", full_every: str = "24h") -> Source:
    return source(
        stage, new_company(), "entra", url=tenant.url, secret=SECRET, every=every, full_every=full_every, tenant=TENANT, client_id=CLIENT, login_url=tenant.url
    )

