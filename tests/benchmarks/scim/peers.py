"""The other SCIM servers: how each is installed, started and filled, and what survives a power cut in it."""

import json
import os
import secrets
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol

from tests.benchmarks.scim import people
from tests.benchmarks.scim.answers import is_accepted, member_ids
from tests.benchmarks.scim.durable import DURABILITY, settle
from tests.benchmarks.scim.installing import SERVERS, from_npm, from_pypi
from tests.benchmarks.scim.operations import Operation
from tests.benchmarks.scim.served import NotServed, RemoveForm, Served, Store, last_words, load, started
from tests.ports import free_port

# Filling is part of the start where the server fills itself.
FILLED_WITHIN: Final = 900.0
GUNICORN: Final = ("-w", "1", "-k", "gthread", "--threads", "8", "--keep-alive", "600")


class Peer(Protocol):
    """Another SCIM server. `install` may be called again; `serving` starts one that is filled with so many people."""

    @property
    def name(self) -> str: ...

    @property
    def store(self) -> Store: ...

    @property
    def durability(self) -> str: ...

    def install(self, folder: Path) -> Path: ...

    def serving(self, installed: Path, place: Path, url: str | None, size: int) -> AbstractContextManager[Served]: ...


class Scimmy:
    """`scimmy-routers` on Express 4; on Express 5 its query parser ignores startIndex."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.name = "scimmy-routers" if store is Store.MEMORY else "scimmy-routers-postgres"
        self.durability = "maps in memory, nothing survives" if store is Store.MEMORY else f"a store of our making on {DURABILITY}"

    def install(self, folder: Path) -> Path:
        return from_npm(folder, "scimmy", {"scimmy": "1.3.5", "scimmy-routers": "1.3.2", "express": "4.21.2", "pg": "8.16.3"})

    @contextmanager
    def serving(self, installed: Path, place: Path, url: str | None, size: int) -> Iterator[Served]:
        port, token, group = free_port(), secrets.token_urlsafe(32), str(uuid.uuid4())
        ids = [str(uuid.uuid4()) for _ in range(size)]
        environment = {
            "NODE_ENV": "production", "PORT": str(port), "TOKEN": token, "PEOPLE": str(_written(place, ids)), "GROUP_ID": group,
            "GROUP_NAME": people.GROUP_NAME, "GROUP_SIZE": str(people.GROUP_SIZE), "DATABASE_URL": _plain(url),
        }  # fmt: skip
        program = _beside(installed, "scimmy.mjs")
        with started(["node", program], port=port, log=place / "log", environment=environment, ready_within=FILLED_WITHIN) as process:
            if url is not None:
                settle(url)
            yield Served(
                port=port, prefix="/scim/v2", token=token, ids=ids, group=group, members=_members(size), process=process,
            )  # fmt: skip


class Jackson:
    """`@boxyhq/saml-jackson`: its own store on PostgreSQL, filled over SCIM."""

    name = "saml-jackson"
    store = Store.POSTGRESQL
    durability = f"its own store on {DURABILITY}"

    def install(self, folder: Path) -> Path:
        return from_npm(folder, "jackson", {"@boxyhq/saml-jackson": "26.2.0", "express": "4.21.2", "pg": "8.16.3"})

    @contextmanager
    def serving(self, installed: Path, place: Path, url: str | None, size: int) -> Iterator[Served]:
        port = free_port()
        directory = place.absolute() / "directory.json"
        environment = {"NODE_ENV": "production", "PORT": str(port), "DATABASE_URL": _plain(url), "DIRECTORY": str(directory)}
        program = _beside(installed, "jackson.mjs")
        with started(["node", program], port=port, log=place / "log", environment=environment) as process:
            made = json.loads(directory.read_text())
            empty = Served(
                port=port, prefix=f"/api/scim/v2.0/{made['id']}", token=made["secret"], ids=[], group="", members=frozenset(), process=process
            )
            ids = _pushed(empty, size)
            group, cannot = _pushed_group(empty, ids)
            if url is not None:
                settle(url)
            yield Served(
                port=port, prefix=empty.prefix, token=empty.token, ids=ids, group=group, members=_members(size), process=process, cannot=cannot,
            )  # fmt: skip


class DjangoScim2:
    """`django-scim2` on gunicorn; a member is removed by a list of values, since it answers 501 to a path with a filter."""

    name = "django-scim2"
    store = Store.POSTGRESQL
    durability = DURABILITY

    def install(self, folder: Path) -> Path:
        return from_pypi(folder, "django-scim2", ["django-scim2==0.23.0", "django==5.2.8", "psycopg[binary]==3.2.13", "gunicorn==23.0.0"])

    @contextmanager
    def serving(self, installed: Path, place: Path, url: str | None, size: int) -> Iterator[Served]:
        port, token = free_port(), secrets.token_urlsafe(32)
        told = place.absolute() / "told.json"
        environment = {"TOKEN": token, "DATABASE_URL": _plain(url), "PYTHONPATH": str(SERVERS)}
        filling: list[str | Path] = [
            installed / "bin/python", "-m", "django_directory.site", _written(place, [""] * size), people.GROUP_NAME, str(people.GROUP_SIZE), told
        ]  # fmt: skip
        _done(filling, environment, place / "filling.log")
        if url is not None:
            settle(url)
        made = json.loads(told.read_text())
        command: list[str | Path] = [installed / "bin/gunicorn", *GUNICORN, "-b", f"127.0.0.1:{port}", "django_directory.site:application"]
        with started(command, port=port, log=place / "log", environment=environment) as process:
            yield Served(
                port=port, prefix="/scim/v2", token=token, ids=made["ids"], group=made["group"], members=_members(size), process=process,
                removes_by=RemoveForm.VALUES,
            )  # fmt: skip


class Scim2Flask:
    """`scim2-flask` on gunicorn, over a store in memory with indexes."""

    name = "scim2-flask"
    store = Store.MEMORY
    durability = "in memory, nothing survives"

    def install(self, folder: Path) -> Path:
        return from_pypi(folder, "scim2-flask", ["scim2-flask==0.1.1", "scim2-server==0.8.3", "scim2-models==0.12.3", "gunicorn==23.0.0"])

    @contextmanager
    def serving(self, installed: Path, place: Path, url: str | None, size: int) -> Iterator[Served]:
        port, token, group = free_port(), secrets.token_urlsafe(32), uuid.uuid4().hex
        ids = [uuid.uuid4().hex for _ in range(size)]
        environment = {
            "TOKEN": token, "PEOPLE": str(_written(place, ids)), "GROUP_ID": group, "GROUP_NAME": people.GROUP_NAME,
            "GROUP_SIZE": str(people.GROUP_SIZE), "PYTHONPATH": str(SERVERS),
        }  # fmt: skip
        command: list[str | Path] = [installed / "bin/gunicorn", *GUNICORN, "-b", f"127.0.0.1:{port}", "--timeout", "900", "flask_directory:application"]
        with started(command, port=port, log=place / "log", environment=environment, ready_within=FILLED_WITHIN) as process:
            served = Served(port=port, prefix="/scim/v2", token=token, ids=ids, group=group, members=_members(size), process=process)
            # gunicorn listens before its worker has filled the store.
            served.wait_until_filled(size, within=FILLED_WITHIN)
            yield served


PEERS: Final[tuple[Peer, ...]] = (Scimmy(Store.MEMORY), Scimmy(Store.POSTGRESQL), Scim2Flask(), DjangoScim2(), Jackson())


def _pushed(served: Served, size: int) -> list[str]:
    """Everybody over SCIM; the ids that they got."""
    documents = load(served, [("POST", "/Users", people.document(number)) for number in range(size)], _created)
    return [str(one["id"]) for one in documents]


def _pushed_group(served: Served, ids: list[str]) -> tuple[str, dict[str, str]]:
    """A group over SCIM, filled a thousand at a time; or why nothing can be said of its members."""
    status, group = served.ask("POST", "/Groups", {"schemas": [people.GROUP_URN], "displayName": people.GROUP_NAME})
    if status != 201:
        raise NotServed(f"making the group was answered {status}")
    inside = ids[: people.GROUP_SIZE]
    for start in (0, *range(1, len(inside), 1000)):
        value = [{"value": id} for id in inside[start : 1 if start == 0 else start + 1000]]
        body = {"schemas": [people.PATCH_URN], "Operations": [{"op": "add", "path": "members", "value": value}]}
        load(served, [("PATCH", f"/Groups/{group['id']}", body)], is_accepted)
        if start == 0 and not member_ids(served.ask("GET", f"/Groups/{group['id']}")[1]):
            why = "a group with a member is shown without members, so no change of them can be read"
            return str(group["id"]), {Operation.ADD: why, Operation.REMOVE: why}
    return str(group["id"]), {}


def _created(status: int, body: bytes) -> str | None:
    return None if status == 201 else f"a create was answered {status}"


def _members(size: int) -> frozenset[int]:
    return frozenset(range(min(size, people.GROUP_SIZE)))


def _written(place: Path, ids: list[str]) -> Path:
    """Everybody as lines of JSON, each with the id that the server shall know them by."""
    path = place.absolute() / "people.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number, id in enumerate(ids):
            file.write(json.dumps({"id": id, **people.document(number)}, ensure_ascii=False) + "\n")
    return path


def _beside(installed: Path, program: str) -> Path:
    """The program in the folder of its packages, where Node looks for them."""
    shutil.copyfile(SERVERS / program, installed / program)
    return installed / program


def _plain(url: str | None) -> str:
    """As other languages' drivers want it."""
    return "" if url is None else url.replace("postgresql+psycopg://", "postgres://")


def _done(command: list[str | Path], environment: dict[str, str], log: Path) -> None:
    with log.open("wb") as file:
        ended = subprocess.run(
            [str(part) for part in command], env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            check=False, timeout=FILLED_WITHIN,
        )  # fmt: skip
    if ended.returncode:
        raise NotServed(f"filling ended with {ended.returncode}: {last_words(log)}")
