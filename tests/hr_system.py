"""An HR system that signs its calls as Standard Webhooks says, with nothing of the receiving side."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from app.clock import now
from app.database import in_transaction
from app.lifecycle.sources import add_hr_source
from tests.company import ADMIN, Company


class HR:
    """One that is connected to a company; `secret` is what it signs with."""

    def __init__(self, app: Flask, company: Company) -> None:
        self.app, self.company = app, company
        settings = app.config["DOORLIST"]
        source, self.secret = in_transaction(
            lambda session: add_hr_source(session, company.organization_id, "hr", settings=settings, actor=ADMIN, at=now())
        )
        self.url = f"/hr/{source.id}"
        self.source_id = source.id

    def sign(self, body: bytes, event_id: str, stamp: str) -> str:
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        return "v1," + base64.b64encode(hmac.new(key, f"{event_id}.{stamp}.".encode() + body, hashlib.sha256).digest()).decode()

    def call(self, event: dict[str, Any], *, event_id: str = "msg_1", age: int = 0, body: bytes | None = None) -> TestResponse:
        signed = json.dumps(event).encode()
        stamp = str(int(time.time()) - age)
        headers = {"webhook-id": event_id, "webhook-timestamp": stamp, "webhook-signature": self.sign(signed, event_id, stamp)}
        return self.app.test_client().post(self.url, data=signed if body is None else body, headers=headers)


def leaving(number: str, **data: Any) -> dict[str, Any]:
    return {"type": "employee.terminated", "timestamp": "2026-11-25T09:00:00Z", "data": {"employee_id": number, **data}}
