"""The floor: a Flask application that looks the token up, runs the barest statement with the same effect, and returns the same bytes.

`python -m tests.benchmarks.scim.floor URL PORT` serves it, on granian with as many threads as `doorlist serve` has. Nothing is
validated, nothing is decided. What a change leaves behind is what Doorlist's leaves behind: the person and what their directory
says of them, an address, an entry in the journal, and work that names whom to look at.
"""

import hashlib
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from flask import Flask, Response, request
from granian import Granian
from granian.constants import Interfaces
from uuid_utils import uuid7

from app.commands.serving import WEB_THREADS_POSTGRESQL, WEB_THREADS_SQLITE
from tests.benchmarks.scim import floor_postgres, floor_sqlite, people
from tests.benchmarks.scim.floor_rows import MEDIA_TYPE, FloorStore, Shown
from tests.benchmarks.scim.operations import MORE
from tests.benchmarks.scim.served import Served, started
from tests.ports import free_port

TOKEN: Final = "dl_the-floor-has-a-token-of-the-usual-length-too"
# As long as a source's id is, since it stands in every address that is answered.
SOURCE: Final = "00000000-0000-7000-8000-00000000000f"
PREFIX: Final = f"/scim/v2/{SOURCE}"


def application(store: FloorStore, base: str) -> Flask:
    app = Flask("floor", static_folder=None)

    @app.before_request
    def authenticate() -> Response | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return None if store.knows(digest(token)) else Response(status=401)

    @app.get(f"{PREFIX}/Users/<id>")
    def get_user(id: str) -> Response:
        shown = store.user(id)
        return Response(status=404) if shown is None else _user(shown, base, 200)

    @app.get(f"{PREFIX}/Users")
    def list_users() -> Response:
        text = request.args.get("filter", "")
        if text:
            attribute, operator, value = text.split(" ", 2)
            found = store.found(attribute, operator, json.loads(value))
            return _list(found, base, total=len(found), start=1)
        start = int(request.args.get("startIndex", "1"))
        page, total = store.page(start - 1, int(request.args.get("count", "100")))
        return _list(page, base, total=total, start=start)

    @app.post(f"{PREFIX}/Users")
    def post_user() -> Response:
        said: dict[str, Any] = request.get_json(force=True)
        said.pop("active", None)
        id = str(uuid7())
        return _user(store.add_user(id, said["userName"].casefold(), said["externalId"], json.dumps(said, ensure_ascii=False), time.time_ns()), base, 201)

    @app.patch(f"{PREFIX}/Users/<id>")
    def patch_user(id: str) -> Response:
        active: bool = request.get_json(force=True)["Operations"][0]["value"]["active"]
        return _user(store.set_active(id, active, time.time_ns()), base, 200)

    @app.patch(f"{PREFIX}/Groups/<id>")
    def patch_group(id: str) -> Response:
        operation = request.get_json(force=True)["Operations"][0]
        if operation["op"] == "add":
            store.set_member(id, operation["value"][0]["value"], inside=True, at=time.time_ns())
        else:
            store.set_member(id, operation["path"].split('"')[1], inside=False, at=time.time_ns())
        return Response(status=204, content_type=MEDIA_TYPE)

    @app.get(f"{PREFIX}/Groups/<id>")
    def get_group(id: str) -> Response:
        members = [{"value": one} for one in store.members(id)]
        return Response(json.dumps({"id": id, "displayName": people.GROUP_NAME, "members": members}), content_type=MEDIA_TYPE)

    return app


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _user(shown: Shown, base: str, status: int) -> Response:
    headers = {"ETag": f'W/"{shown.version}"', "Location": f"{base}/Users/{shown.id}"}
    return Response(_text(shown, base), status=status, headers=headers, content_type=MEDIA_TYPE)


def _text(shown: Shown, base: str) -> str:
    active = "true" if shown.active else "false"
    groups = shown.groups.replace('"/Groups/', f'"{base}/Groups/')
    return (
        f'{{"id":"{shown.id}",{shown.document[1:-1]},"active":{active},"groups":{groups},"meta":{{"resourceType":"User",'
        f'"created":"{_iso(shown.created)}","lastModified":"{_iso(shown.modified)}","location":"{base}/Users/{shown.id}","version":"W/\\"{shown.version}\\""}}}}'
    )


def _list(found: list[Shown], base: str, *, total: int, start: int) -> Response:
    resources = ",".join(_text(shown, base) for shown in found)
    head = f'{{"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"totalResults":{total},"startIndex":{start},'
    return Response(f'{head}"itemsPerPage":{len(found)},"Resources":[{resources}]}}', content_type=MEDIA_TYPE)


def _iso(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest // 1_000_000:03d}Z"


def store_at(url: str) -> FloorStore:
    return floor_sqlite.SQLiteFloor(url) if url.startswith("sqlite") else floor_postgres.PostgresFloor(url)


@contextmanager
def serving(folder: Path, *, url: str, size: int) -> Iterator[Served]:
    """The floor on a fresh database, filled."""
    store = store_at(url)
    ids = [str(uuid7()) for _ in range(size)]
    members = range(min(people.GROUP_SIZE, size))
    group = str(uuid7())
    store.fill(digest(TOKEN), ids, group, members)
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.scim.floor", url, str(port)]
    with started(command, port=port, log=folder / "floor.log") as process:
        yield Served(
            port=port, prefix=PREFIX, token=TOKEN, ids=ids, group=group, members=frozenset(members), process=process,
            cannot={operation: "the floor knows no such statement" for cell in MORE for operation in cell.operations},
        )  # fmt: skip


def load(target: str) -> Flask:
    """The application of the web process, in that process."""
    url, port = target.rsplit(" ", 1)
    return application(store_at(url), f"http://127.0.0.1:{port}{PREFIX}")


def main(url: str, port: int) -> None:
    threads = WEB_THREADS_SQLITE if url.startswith("sqlite") else WEB_THREADS_POSTGRESQL
    server = Granian(
        f"{url} {port}", address="127.0.0.1", port=port, interface=Interfaces.WSGI, workers=1, blocking_threads=threads, log_enabled=False,
        websockets=False,
    )  # fmt: skip
    server.serve(target_loader=load)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
