"""The quick paths say what the ordinary ways say, byte for byte, and leave to them whatever is unusual or wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from app.access.sessions import Authenticated
from app.clock import now
from app.database import in_transaction
from app.journal.tables import Organization
from app.sso.provider.quick_door import QuickDoor
from tests.unit.sso.providing import COOKIE, House, house_of
from tests.vouching import administrators

pytestmark = pytest.mark.slow

_RUNNING: list[asyncio.Runner] = []
Said = tuple[int, dict[str, str], bytes]


@pytest.fixture(autouse=True)
def runner() -> Iterator[asyncio.Runner]:
    """One loop for the whole test: connections to PostgreSQL belong to the loop that they were opened on."""
    with asyncio.Runner() as found:
        _RUNNING.append(found)
        yield found
        _RUNNING.clear()


@pytest.fixture
def house(installed: Flask) -> House:
    return house_of(installed)


def door(house: House) -> QuickDoor:
    return house.app.wsgi_app  # type: ignore[return-value]  # what `create_app` puts there


def environ(method: str, path: str, *, cookie: str = "", token: str = "", form: dict[str, str] | None = None, query: str = "") -> dict[str, Any]:
    headers = Headers({**({"Cookie": f"{COOKIE}={cookie}"} if cookie else {}), **({"Authorization": f"Bearer {token}"} if token else {})})
    built = EnvironBuilder(path=path, method=method, headers=headers, query_string=query, data=None if form is None else urlencode(form))
    if form is not None:
        built.content_type = "application/x-www-form-urlencoded"
    return built.get_environ()


def ordinarily(house: House, asked: dict[str, Any]) -> Said:
    body, status, headers = run_wsgi_app(door(house)._ordinary, {**asked, "wsgi.input": BytesIO(asked["wsgi.input"].read())})
    return int(status[:3]), {name: value for name, value in headers.items() if name != "Vary"}, b"".join(body)


def quickly(house: House, asked: dict[str, Any]) -> Said | None:
    answered = _RUNNING[0].run(door(house).soon(asked))
    return None if answered is None else (answered[0], dict(answered[1]), b"".join(answered[2]))


def both(house: House, method: str, path: str, **given: Any) -> tuple[Said | None, Said]:
    return quickly(house, environ(method, path, **given)), ordinarily(house, environ(method, path, **given))


def test_the_gate_answers_alike(house: House) -> None:
    token = house.ada.tokens_for(house.application)["access_token"]

    for given in ({"cookie": house.ada.cookie}, {"token": token}, {"token": token, "query": f"client={house.application.client_id}"}):
        quick, ordinary = both(house, "GET", "/gate", **given)
        assert quick is not None and quick[0] == ordinary[0] == 200
        assert {name: ordinary[1][name] for name in quick[1]} == quick[1]


def test_introspection_answers_alike(house: House) -> None:
    token = house.ada.tokens_for(house.application)["access_token"]
    proof = {"client_id": house.application.client_id, "client_secret": str(house.application.secret)}

    for one in (token, "dl_pa_never"):
        quick, ordinary = both(house, "POST", "/introspect", form={**proof, "token": one})
        assert quick is not None and (quick[0], quick[2]) == (ordinary[0], ordinary[2])
        assert {name: ordinary[1][name] for name in quick[1]} == quick[1]


@pytest.mark.parametrize("roles", ["", '{"admin": ["Administrators"]}'])
def test_the_session_is_shown_alike(house: House, roles: str) -> None:
    if roles:
        in_transaction(lambda session: _set(session.get_one(Organization, house.company.organization_id), roles))
    ada = house.ada.signs_in_again(Authenticated(connection_id=None, at=now(), acr="phr", amr=("hwk",), strong=True))

    quick, ordinary = both(house, "GET", "/session", cookie=ada.cookie)

    assert quick is not None and (quick[0], quick[2]) == (ordinary[0], ordinary[2])
    assert {name: ordinary[1][name] for name in quick[1]} == quick[1]


def test_the_session_shows_no_role_by_an_account_that_is_over(house: House) -> None:
    in_transaction(lambda session: _set(session.get_one(Organization, house.company.organization_id), '{"admin": ["Administrators"]}'))
    administrators(house.company, house.ada.record, ends_at=now() - timedelta(days=1))
    ada = house.ada.signs_in_again(Authenticated(connection_id=None, at=now(), acr="phr", amr=("hwk",), strong=True))

    quick, ordinary = both(house, "GET", "/session", cookie=ada.cookie)

    assert quick is not None and quick[2] == ordinary[2]
    assert json.loads(quick[2])["roles"] == []


def _set(organization: Organization, roles: str) -> None:
    organization.settings = {**organization.settings, "role_groups": roles}


def test_whatever_is_wrong_is_left_to_the_ordinary_way(house: House) -> None:
    token = house.ada.tokens_for(house.application)["access_token"]
    proof = {"client_id": house.application.client_id, "client_secret": str(house.application.secret)}
    house.ada.departs()

    for method, path, given in (
        ("GET", "/gate", {}), ("GET", "/gate", {"cookie": house.ada.cookie}), ("GET", "/gate", {"token": token}),
        ("GET", "/gate", {"cookie": house.ada.cookie, "query": "client=evil"}), ("GET", "/session", {"cookie": house.ada.cookie}), ("GET", "/session", {}),
        ("POST", "/introspect", {"form": {**proof, "client_secret": "wrong", "token": token}}), ("POST", "/introspect", {"form": {"token": token}}),
        ("POST", "/introspect", {"form": {**proof, "token": token, "more": "x"}}), ("POST", "/introspect", {"form": proof}),
        ("POST", "/introspect", {"form": {**proof, "client_id": "\0", "token": token}}),
    ):  # fmt: skip
        assert quickly(house, environ(method, path, **given)) is None, (path, given)


def test_two_cookies_of_one_name_are_left_to_the_ordinary_way(house: House) -> None:
    asked = environ("GET", "/gate", cookie=f"{house.ada.cookie}; {COOKIE}=dl_s_evil")

    assert quickly(house, asked) is None
