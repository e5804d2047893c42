"""Setting up a SAML connection, and keeping it while the provider changes its certificates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from flask import Flask
from sqlalchemy import select

from app.access.connection_tables import Connection
from app.access.sealing import unseal
from app.clock import now
from app.commands import housekeeping
from app.database import in_transaction, reading
from app.journal.tables import Entry
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarm_tables import Alarm
from app.settings import Settings
from app.sso import connections, saml_refreshing
from app.sso.refusals import Reason, Refused
from app.sso.saml_certificates import read_certificate
from app.sso.saml_refreshing import expiring, refresh_all
from app.sso.saml_setup import BadMetadata, addresses, fetch_metadata, new_connection, read_metadata
from connectors.contract import Misconfigured
from tests.company import ADMIN, NOW, later, new_company
from tests.saml_arrangement import Arrangement, acme, connect
from tests.saml_certificates import IDP, NEXT, refreshed, rolling, signed_by_next
from tests.saml_provider import MD, POST, REDIRECT, keys, provider


@pytest.fixture
def here(installed: Flask) -> Iterator[Arrangement]:
    yield acme(installed, new_company())


def _settings(app: Flask) -> Settings:
    found: Settings = app.config["DOORLIST"]
    return found


def test_metadata_gives_what_a_connection_needs() -> None:
    said = read_metadata(IDP.metadata(), at=NOW)

    assert said["entity_id"] == IDP.entity_id
    assert said["sso_url"] == "https://idp.acme.example/sso"
    assert (said["slo_url"], said["slo_binding"]) == ("https://idp.acme.example/slo", REDIRECT)
    assert said["certificates"] == [read_certificate(IDP.key.certificate).pem]
    assert said["metadata_signer"] is None


def test_a_new_connection_has_a_key_of_its_own_that_is_sealed(installed: Flask) -> None:
    new = new_connection(_settings(installed), IDP.metadata(), connection_id="c1", at=NOW)

    assert b"PRIVATE" not in new.sealed_secret
    assert unseal(_settings(installed), new.sealed_secret).startswith("-----BEGIN PRIVATE KEY-----")
    assert "PRIVATE" not in str(new)
    assert read_certificate(new.saml["our_certificate"]).not_after > later(9 * 365 * 86400)


def test_our_name_is_the_address_of_our_metadata(installed: Flask) -> None:
    assert addresses(_settings(installed), "c1") == {
        "entity_id": "http://127.0.0.1:8484/saml/c1/metadata",
        "acs_url": "http://127.0.0.1:8484/saml/c1/acs",
        "metadata_url": "http://127.0.0.1:8484/saml/c1/metadata",
        "slo_url": "http://127.0.0.1:8484/saml/c1/slo",
    }


@pytest.mark.parametrize(
    ("metadata", "because"),
    [
        ("", "not XML"),
        ("<html/>", "no identity providers"),
        ('<!DOCTYPE x [<!ENTITY y "z">]>' + IDP.metadata(), "DOCTYPE"),
        (IDP.metadata(valid_until=NOW), "was good until"),
        (IDP.metadata().replace("<md:IDPSSODescriptor ", "<md:IDPSSODescriptor validUntil='2001-01-01T00:00:00Z' "), "was good until 2001"),
        (IDP.metadata().replace(REDIRECT, POST), "no SingleSignOnService"),
        (IDP.metadata().replace("https://idp.acme.example/sso", "javascript:alert(1)"), "cannot be used"),
        (IDP.metadata().replace("https://idp.acme.example/sso", "https://[::1/sso"), "cannot be used"),
        (IDP.metadata().replace("https://idp.acme.example/slo", "https://[idp]/slo"), "cannot be used"),
        (IDP.metadata().replace("entityID='https", "entityID=' https"), "entityID"),
        (replace(IDP, certificates=()).metadata(), "no certificate"),
        (replace(IDP, certificates=(keys("gone", days=-1000),)).metadata(), "ended on"),
        (
            f"<md:EntitiesDescriptor xmlns:md='{MD}'>{IDP.metadata()}{provider(entity_id='https://b.example').metadata()}</md:EntitiesDescriptor>",
            "2 identity",
        ),
    ],
)
def test_metadata_that_cannot_be_used_says_why(metadata: str, because: str) -> None:
    with pytest.raises(BadMetadata, match=because):
        read_metadata(metadata, at=NOW)


def test_a_provider_among_service_providers_is_found() -> None:
    federation = f"<md:EntitiesDescriptor xmlns:md='{MD}'><md:EntityDescriptor entityID='https://sp.example'/><!-- ours -->{IDP.metadata()}</md:EntitiesDescriptor>"

    assert read_metadata(federation, at=NOW)["entity_id"] == IDP.entity_id


def test_a_provider_without_logout_has_none() -> None:
    assert read_metadata(IDP.metadata(logout=None), at=NOW)["slo_url"] is None
    assert read_metadata(IDP.metadata(logout=POST), at=NOW)["slo_binding"] == POST


def test_a_certificate_that_was_stolen_is_forgotten_by_hand(here: Arrangement) -> None:
    refreshed(here, rolling(NEXT).metadata(), by=saml_refreshing.replace)

    with pytest.raises(Refused) as refused:
        here.signs_in()
    assert refused.value.reason is Reason.KEY_CHANGED
    assert signed_by_next(here) == "im-ada-1001"


def test_what_is_taken_is_in_the_journal(here: Arrangement) -> None:
    refreshed(here, rolling(IDP.key, NEXT).metadata())

    with reading() as session:
        entry = session.scalars(select(Entry).order_by(Entry.id.desc())).first()
    assert entry is not None
    assert (entry.verb, entry.subject_id) == ("connection's metadata taken", here.connection_id)
    assert "PRIVATE" not in str(entry.after)


def test_metadata_that_says_the_same_changes_nothing(here: Arrangement) -> None:
    assert refreshed(here, IDP.metadata()) == []


def test_what_ends_soon_is_told(here: Arrangement) -> None:
    ends = read_certificate(IDP.key.certificate).not_after
    with reading() as session:
        early = [one for one in expiring(session, at=ends - timedelta(days=31)) if one.what == "the provider's certificate"]
        told = [one for one in expiring(session, at=ends - timedelta(days=29)) if one.what == "the provider's certificate"]

    assert early == []
    assert [(one.connection_name, one.ends_at) for one in told] == [("acme", ends)]


def test_what_has_a_successor_is_not_told(here: Arrangement) -> None:
    short = keys("short", days=10)
    refreshed(here, rolling(short, IDP.key).metadata())

    with reading() as session:
        assert expiring(session, at=now()) == []


def test_metadata_is_not_fetched_from_a_private_address() -> None:
    with pytest.raises(Misconfigured):
        fetch_metadata("http://127.0.0.1:1/metadata")
    with pytest.raises(Misconfigured):
        fetch_metadata("https://127.0.0.1:1/metadata")


def test_the_daily_round_tells_what_it_could_not_fetch(here: Arrangement) -> None:
    here.set(saml={**here.connection().settings["saml"], "metadata_url": "https://127.0.0.1:1/metadata"})

    (problem,) = refresh_all(at=NOW)

    assert (problem.organization_id, problem.connection_id) == (here.company.organization_id, here.connection_id)
    assert "'acme'" in problem.sentence


@contextmanager
def publishing(says: Callable[[], str]) -> Iterator[str]:
    """A place that gives metadata, made up anew each time that somebody asks."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = says().encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is written to the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/metadata"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _is_read_at(here: Arrangement, url: str, **more: object) -> None:
    here.set(saml={**here.connection().settings["saml"], "metadata_url": url, "allow_private": True, **more})


def _known_to(here: Arrangement) -> list[str]:
    certificates: list[str] = here.connection().settings["saml"]["certificates"]
    return certificates


def test_the_daily_round_takes_what_is_new(here: Arrangement) -> None:
    with publishing(rolling(IDP.key, NEXT).metadata) as url:
        _is_read_at(here, url)
        assert refresh_all(at=NOW) == []

    assert signed_by_next(here) == "im-ada-1001"


def test_metadata_of_before_bring_no_certificate_back_that_was_forgotten_while_they_were_on_their_way(here: Arrangement) -> None:
    def of_before() -> str:
        with here.app.app_context():
            refreshed(here, rolling(NEXT).metadata(), by=saml_refreshing.replace)
        return IDP.metadata()

    with publishing(of_before) as url:
        _is_read_at(here, url)
        assert refresh_all(at=NOW) == []

    assert _known_to(here) == [read_certificate(NEXT.certificate).pem]


def test_metadata_that_come_after_a_connection_ended_change_nothing(here: Arrangement) -> None:
    key = (here.company.organization_id, here.connection_id)

    def at_the_end() -> str:
        with here.app.app_context():
            in_transaction(lambda session: connections.end(session, session.get_one(Connection, key), actor=ADMIN, at=NOW))
        return rolling(IDP.key, NEXT).metadata()

    with publishing(at_the_end) as url:
        _is_read_at(here, url)
        assert refresh_all(at=NOW) == []

    with reading() as session:
        entries = session.scalars(select(Entry.verb).where(Entry.subject_id == here.connection_id).order_by(Entry.id)).all()
    assert entries[-1] == "connection ended"


def test_what_is_odd_about_one_connection_keeps_no_other_from_being_read(here: Arrangement, monkeypatch: pytest.MonkeyPatch) -> None:
    kept_badly, stumbled, good = (
        connect(here.app, here.company, provider(entity_id=f"https://{name}.example"), name=name) for name in ("badly", "stumbled", "good")
    )
    said: dict[str, str | ValueError] = {
        "https://odd.example": IDP.metadata().replace("https://idp.acme.example/sso", "https://[::1/sso"),
        "https://badly.example": replace(kept_badly.provider, certificates=(NEXT,)).metadata(),
        "https://stumbled.example": ValueError("a reader stumbled"),
        "https://good.example": replace(good.provider, certificates=(good.provider.key, NEXT)).metadata(),
    }

    def fetch(url: str, *, allow_private: bool) -> str:
        found = said[url]
        if isinstance(found, ValueError):
            raise found
        return found

    monkeypatch.setattr(saml_refreshing, "fetch_metadata", fetch)
    for one, url in zip((here, stumbled, good), ("https://odd.example", "https://stumbled.example", "https://good.example"), strict=True):
        _is_read_at(one, url)
    _is_read_at(kept_badly, "https://badly.example", certificates=["no certificate"])

    problems = {one.connection_id for one in refresh_all(at=NOW)}

    assert problems == {here.connection_id, kept_badly.connection_id, stumbled.connection_id}
    assert read_certificate(NEXT.certificate).pem in _known_to(good)


def test_a_provider_whose_metadata_cannot_be_read_is_an_alarm_until_it_can(here: Arrangement) -> None:
    kept = here.connection().settings["saml"]
    here.set(saml={**kept, "metadata_url": "https://127.0.0.1:1/metadata"})
    housekeeping.refresh_connections(here.app)
    told = _open_alarms(here)
    here.set(saml=kept)
    housekeeping.refresh_connections(here.app)

    assert [(one.kind, one.about) for one in told] == [(AlarmKind.PROVIDER_AWAY, here.connection_id)]
    assert "'acme'" in told[0].sentence
    assert _open_alarms(here) == []


def _open_alarms(here: Arrangement) -> list[Alarm]:
    with reading() as session:
        return list(session.scalars(select(Alarm).where(Alarm.organization_id == here.company.organization_id, Alarm.closed_at.is_(None))))
