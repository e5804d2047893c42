"""A vendor's HR system: its API as a server on loopback that keeps people, and its calls as the samples have them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from flask import Flask

from app.clock import Clock
from app.database import in_transaction, reading
from app.directory.tables import Source
from app.intake import confirming, described, descriptions, hr_systems, polling
from app.intake.hr_tables import HRSystem
from app.intake.news import vendor_of
from app.intake.schemes import Request
from app.intake.tables import HREvent
from app.lifecycle.sources import secrets_of
from tests.company import ADMIN, Company

SAMPLES = Path(__file__).parent / "hr_samples"
CLOCK = datetime(2026, 11, 25, 9, 46, 40, tzinfo=UTC)
"""When every signed sample was sent."""
CREDENTIAL = "api-credential-0001"
TOKENS = "/oauth/token"
"""Where a client of the API gets its token."""


@dataclass(kw_only=True)
class Answers:
    """What the API answers: records by path, whole lists by path, and how it fails."""

    url: str = ""
    records: dict[str, Any] = field(default_factory=dict)
    takes_back: set[str] = field(default_factory=set)
    down: bool = False
    forgets: bool = False
    """Takes no token any more that it gave out."""
    repeats: bool = False
    """Says no, and repeats what it was shown."""
    lasts: Any = 3600
    asked: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)


def _page(found: Any, query: dict[str, str]) -> Any:
    """A list in pages as Rippling and Gusto hand one out, where that is asked for; Rippling gives a hundred at most."""
    if not isinstance(found, list) or not {"limit", "per"} & query.keys():
        return found
    size = int(query.get("per", 0)) or min(int(query["limit"]), 100)
    first = int(query.get("offset", 0)) or (int(query.get("page", 1)) - 1) * size
    return found[first : first + size]


@contextmanager
def vendor_api() -> Iterator[Answers]:
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answers.asked.append(f"{self.command} {self.path}")
            answers.sent.append(sent.decode())
            path = urlsplit(self.path).path
            shown = "Basic" in self.headers.get("Authorization", "") or any(CREDENTIAL in value for value in self.headers.values())
            status, body = 404, json.dumps({"error": "not found"})
            if answers.down:
                status, body = 503, ""
            elif answers.repeats:
                words = f"what is {self.headers.get('Authorization')} {sent.decode()}?"
                status, body = 401, json.dumps({"error": "invalid_client", "error_description": words})
            elif path == TOKENS and "grant_type=client_credentials" in sent.decode() and (shown or CREDENTIAL in sent.decode()):
                status, body = 200, json.dumps({"access_token": f"token-for-{CREDENTIAL}", "token_type": "Bearer", "expires_in": answers.lasts})
            elif not shown or answers.forgets:
                status = 401
            elif self.command == "PUT":
                status = 200 if json.loads(sent)["verification_token"] in answers.takes_back else 422
            elif path in answers.records:
                status, body = 200, json.dumps(_page(answers.records[path], dict(parse_qsl(urlsplit(self.path).query))))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = do_PUT = _answer

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    answers.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True, kw_only=True)
class Sample:
    request: Request
    secret: str

    def altered(self, at: int) -> Sample:
        body = bytearray(self.request.body)
        body[at] ^= 1
        return Sample(request=Request(method=self.request.method, headers=self.request.headers, body=bytes(body)), secret=self.secret)


def sample(name: str) -> Sample:
    document = json.loads((SAMPLES / f"{name}.json").read_text())
    request = document["request"]
    headers = {key.lower(): value for key, value in request["headers"].items()}
    made = Request(method=request["method"], headers=headers, body=request["body_raw"].encode())
    return Sample(request=made, secret=document["_meta"].get("test_secret", ""))


def description_file(name: str) -> str:
    """Of the vendor of a sample, by its name."""
    vendor = "standard_webhooks" if name.startswith("standard") else name.partition("_")[0]
    return vendor if vendor in descriptions.shipped() else str(SAMPLES / f"{vendor}.yaml")


class Vendor:
    """An HR system with a description, connected to a company."""

    def __init__(
        self,
        app: Flask,
        company: Company,
        name: str,
        *,
        secret: str = "",
        answers: Answers | None = None,
        change: tuple[str, str] = ("", ""),
    ) -> None:
        self.app, self.company, self.settings = app, company, app.config["DOORLIST"]
        text = descriptions.text_of(description_file(name))
        api = descriptions.read(text).api
        if answers is not None and api is not None:
            text = text.replace(api.url, answers.url)
        text = text.replace(*change) if change[0] else text
        written = text.partition("\napi:")[2]
        names = {"company": "acme", "owner": "o", "report": "r", "host": "h", "tenant": "t"}
        filled = {name: value for name, value in names.items() if f"{{{name}}}" in written}
        source, self.secret = in_transaction(
            lambda session: hr_systems.add_described(
                session, company.organization_id, "hr", text, secret=secret or None, credential=CREDENTIAL if answers else None,
                variables=filled, allow_private=True,
                settings=self.settings, actor=ADMIN, at=CLOCK,
            )
        )  # fmt: skip
        self.source_id = source.id

    def hears(self, request: Request, *, at: datetime = CLOCK) -> str:
        with reading() as session:
            source = session.get_one(Source, (self.company.organization_id, self.source_id))
            system = session.get_one(HRSystem, (self.company.organization_id, self.source_id))
        secrets = secrets_of(source, settings=self.settings)
        return described.hear(self.settings, source, system, request, secrets, time_zone="UTC", at=at).state

    def works(self, *, at: datetime = CLOCK) -> int:
        clock: Clock = lambda: at  # noqa: E731  # a clock that stands still
        return confirming.work(self.settings, clock=clock)

    def polls(self, *, at: datetime = CLOCK) -> str | None:
        vendor = vendor_of(self.settings, self.company.organization_id, self.source_id)
        assert vendor is not None
        return polling.look_at(vendor, clock=lambda: at)

    def system(self) -> HRSystem:
        with reading() as session:
            return session.get_one(HRSystem, (self.company.organization_id, self.source_id))

    def events(self) -> list[HREvent]:
        from sqlalchemy import select

        with reading() as session:
            return list(
                session.scalars(select(HREvent).where(HREvent.source_id == self.source_id).order_by(HREvent.received_at, HREvent.event_id))
            )
