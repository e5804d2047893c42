"""Which of two requests that were under way at once was said last: *off* wins over an *on* that came before it and waited."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.clock import iso, now
from app.database import reading
from app.directory.tables import Standing
from app.journal.tables import Entry
from app.revocation.tables import Departure
from app.scim.door import ARRIVED
from tests.clients.directory import PATCH_URN, Directory
from tests.clients.transcript import Answer
from tests.unit.scim.choosing import OFF, ON, get, is_taken, off, person_of, set_brake, someone_off
from tests.unit.scim.hot_views import without_views

SECOND = timedelta(seconds=1)


@pytest.fixture(params=["hot", "ordinary"])
def way(request: pytest.FixtureRequest, directory: Directory, monkeypatch: pytest.MonkeyPatch) -> str:
    set_brake("off")
    assert directory.send("GET", "/ServiceProviderConfig").status == 200
    if request.param == "ordinary":
        without_views(monkeypatch)
    return str(request.param)


def _that_came(directory: Directory, at: datetime, method: str, path: str, body: Any) -> Answer:
    """A request that has waited since then."""
    headers = {"Authorization": f"Bearer {directory.token}", "Content-Type": "application/scim+json"}
    response = directory.http.open(
        directory.base + path, method=method, headers=headers, data=json.dumps(body), environ_overrides={ARRIVED: at}
    )
    return Answer(status=response.status_code, headers=dict(response.headers), text=response.text)


def _put(**more: Any) -> dict[str, Any]:
    return {"userName": "ada", "externalId": "00u1", **more}


def _patch(*operations: Any) -> dict[str, Any]:
    return {"schemas": [PATCH_URN], "Operations": list(operations)}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("PUT", _put(active=True, title="Countess")),
        ("PATCH", _patch(ON)),
        ("PATCH", _patch({"op": "replace", "value": {"active": "True", "title": "Countess"}})),
    ],
)
def test_an_on_that_was_under_way_gives_nothing_back(directory: Directory, method: str, body: Any) -> None:
    ada = directory.add_user("ada", externalId="00u1")
    came = now()
    off(directory, ada)

    late = _that_came(directory, came, method, f"/Users/{ada}", body)

    assert (late.status, late.document["active"]) == (200, False)
    assert get(directory, f"/Users/{ada}").get("title") == ("Countess" if "title" in json.dumps(body) else None)
    assert person_of(ada).standing == Standing.DEPARTED
    # Whatever is said after it counts again.
    assert directory.patch(f"/Users/{ada}", ON).document["active"] is True


@pytest.mark.usefixtures("way")
def test_an_on_that_came_after_an_off_counts_though_that_one_waited(directory: Directory) -> None:
    ada = directory.add_user("ada")
    came = now() - SECOND
    assert _that_came(directory, came, "PATCH", f"/Users/{ada}", _patch(OFF)).document["active"] is False

    late = _that_came(directory, came + SECOND / 2, "PATCH", f"/Users/{ada}", _patch(ON))

    assert late.document["active"] is True
    assert person_of(ada).standing == Standing.ACTIVE


@pytest.mark.usefixtures("way")
def test_an_off_that_waited_counts_whatever_came_since(directory: Directory) -> None:
    ada = someone_off(directory)
    came = now()
    directory.patch(f"/Users/{ada}", ON)

    assert _that_came(directory, came, "PATCH", f"/Users/{ada}", _patch(OFF)).document["active"] is False
    assert person_of(ada).standing == Standing.DEPARTED


def test_a_post_that_was_under_way_brings_nobody_back(directory: Directory) -> None:
    ada = directory.add_user("ada", externalId="00u1")
    came = now()
    off(directory, ada)

    assert is_taken(_that_came(directory, came, "POST", "/Users", _put()))
    assert get(directory, f"/Users/{ada}")["active"] is False
    assert directory.send("POST", "/Users", _put()).status == 201


def test_in_a_bulk_each_is_said_in_its_turn(directory: Directory) -> None:
    ada = directory.add_user("ada")
    operations = [{"method": "PATCH", "path": f"/Users/{ada}", "data": _patch(one)} for one in (OFF, ON)]

    _that_came(directory, now() - SECOND, "POST", "/Bulk", {"Operations": operations})

    assert get(directory, f"/Users/{ada}")["active"] is True


@pytest.mark.usefixtures("way")
def test_no_instant_lies_before_what_is_written_already(directory: Directory) -> None:
    """What has waited is written when it is done, and not when it came."""
    ada = directory.add_user("ada")
    group = str(directory.send("POST", "/Groups", {"displayName": "Ants"}).document["id"])
    came = now()
    seen: list[str] = []
    for number, one in enumerate((OFF, ON, OFF, ON)):
        came += timedelta(microseconds=1)
        seen.append(_that_came(directory, came, "PATCH", f"/Users/{ada}", _patch(one)).document["meta"]["lastModified"])
        adding = {"op": "remove" if number % 2 else "add", "path": "members", "value": [{"value": ada}]}
        assert _that_came(directory, came - SECOND, "PATCH", f"/Groups/{group}", _patch(adding)).status == 204
    assert seen == sorted(seen)
    with reading() as session:
        entries = session.scalars(select(Entry.at).order_by(Entry.id)).all()
        departures = session.execute(select(Departure.decided_at, Departure.ended_at)).all()
    assert list(entries) == sorted(entries)
    assert len(departures) == 2
    assert all(ended is not None and ended > decided for decided, ended in departures)


@pytest.mark.usefixtures("way")
def test_a_clock_that_was_put_back_brings_nothing_written_back(directory: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob, cyd = directory.add_user("ada"), someone_off(directory, "bob", "00u2"), directory.add_user("cyd")
    group = str(directory.send("POST", "/Groups", {"displayName": "Ants"}).document["id"])
    ahead = now() + timedelta(minutes=10)
    with monkeypatch.context() as patching:
        for module in ("app.scim.door", "app.scim.hot", "app.lifecycle.plain_switch", "app.lifecycle.plain_members"):
            patching.setattr(f"{module}.now", lambda: ahead)
        off(directory, ada)
        directory.send("PUT", f"/Users/{bob}", {"userName": "bob", "externalId": "00u2", "title": "x"})
        directory.send("PUT", f"/Users/{cyd}", {"userName": "cyd", "title": "x"})
        directory.send("PUT", f"/Groups/{group}", {"displayName": "Bees"})

    off(directory, cyd)
    shown = directory.patch(f"/Users/{ada}", ON).document
    adding = {"op": "add", "path": "members", "value": [{"value": ada}]}
    assert directory.patch(f"/Groups/{group}", adding).status == 204
    directory.send("PUT", f"/Users/{bob}", {"userName": "bob", "externalId": "00u3", "active": True})

    # An *off* of a clock that is ahead keeps nobody out.
    assert shown["active"] is True
    assert person_of(ada).modified_at == person_of(cyd).modified_at == ahead
    for path in (f"/Users/{ada}", f"/Users/{bob}", f"/Users/{cyd}", f"/Groups/{group}"):
        assert get(directory, path)["meta"]["lastModified"] == iso(ahead), path
