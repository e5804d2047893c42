"""Requests are received whole before a thread is taken, whatever their senders do."""

import asyncio
import errno
import json
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.commands.buffered import IN_MEMORY, Buffered


def scope(*headers: tuple[str, str]) -> dict[str, Any]:
    return {
        "type": "http", "method": "POST", "path": "/a b/é", "raw_path": b"/a%20b/%C3%A9", "query_string": b"x=%20y", "scheme": "http",
        "server": ("127.0.0.1", 8484), "client": ("127.0.0.1", 5000), "http_version": "1.1",
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }  # fmt: skip


@dataclass(kw_only=True)
class Sender:
    """Gives its pieces, and then nothing more for ever where it `hangs`, or is gone where it `leaves`; keeps what it is answered."""

    pieces: list[bytes] = field(default_factory=list)
    hangs: bool = False
    leaves: bool = False
    taken: int = 0
    said: list[dict[str, Any]] = field(default_factory=list)

    async def receive(self) -> dict[str, Any]:
        if self.taken == len(self.pieces):
            if self.leaves:
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()
        self.taken += 1
        more = self.hangs or self.leaves or self.taken < len(self.pieces)
        return {"type": "http.request", "body": self.pieces[self.taken - 1], "more_body": more}

    async def send(self, message: dict[str, Any]) -> None:
        self.said.append(message)

    @property
    def answer(self) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        begun, *pieces = self.said
        assert [begun["type"], *{one["type"] for one in pieces}] == ["http.response.start", "http.response.body"]
        assert [one["more_body"] for one in pieces] == [True] * (len(pieces) - 1) + [False]
        return begun["status"], begun["headers"], b"".join(one["body"] for one in pieces)


@dataclass(kw_only=True)
class Application:
    """Remembers what it was asked, and says the length of the body."""

    seen: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    closed: int = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.seen.append(environ)
        self.bodies.append(environ["wsgi.input"].read())
        start_response("201 CREATED", [("X", "y")])
        return Pieces(self)


class Pieces:
    def __init__(self, application: Application) -> None:
        self._application = application

    def __iter__(self) -> Any:
        return iter([b"do", b"ne"])

    def close(self) -> None:
        self._application.closed += 1


def served(application: Any, sender: Sender, *headers: tuple[str, str], limit: int = 10_000_000, within: float = 10.0, **more: Any) -> Sender:
    asyncio.run(Buffered(application, threads=1, limit=limit, within=within, **more)(scope(*headers), sender.receive, sender.send))
    return sender


def test_a_request_is_told_as_wsgi_has_it() -> None:
    application = Application()

    sender = served(
        application, Sender(pieces=[b'{"a":', b"1}"]), ("content-length", "7"), ("content-type", "application/json"), ("x-a", "1"), ("x-a", "2"),
        ("authorization_", "spoofed"),
    )  # fmt: skip

    asked = application.seen[0]
    assert application.bodies == [b'{"a":1}']
    assert (asked["CONTENT_LENGTH"], asked["CONTENT_TYPE"], asked["HTTP_X_A"]) == ("7", "application/json", "1,2")
    assert asked["PATH_INFO"].encode("latin-1").decode() == "/a b/é"
    assert (asked["QUERY_STRING"], asked["REMOTE_ADDR"], asked["SERVER_NAME"], asked["SERVER_PORT"]) == ("x=%20y", "127.0.0.1", "127.0.0.1", "8484")
    assert not [name for name in asked if "SPOOFED" in name or name == "HTTP_AUTHORIZATION_"]
    assert sender.answer == (201, [(b"X", b"y"), (b"content-length", b"4")], b"done")
    assert application.closed == 1


LONG = b"x" * (IN_MEMORY + 1)
HALF = b"y" * (IN_MEMORY // 2)


@pytest.mark.parametrize(
    ("pieces", "sent"),
    [
        ([], [b""]), ([b""], [b""]), ([b"a", b"", b"b"], [b"ab"]), ([b"", LONG, b""], [LONG]), ([b"a", LONG, b"b", b"c"], [b"a", LONG, b"bc"]),
        ([HALF, HALF], [HALF + HALF]), ([HALF, HALF, b"a"], [HALF + HALF, b"a"]), ([b"a"] * 200_000, [b"a" * IN_MEMORY] * 3 + [b"a" * (200_000 - 3 * IN_MEMORY)]),
    ],
    ids=range(8),
)  # fmt: skip
@pytest.mark.parametrize("soon", [True, False])
def test_an_answer_goes_in_its_large_pieces_and_small_ones_together(pieces: list[bytes], sent: list[bytes], soon: bool) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return iter(pieces)

    async def early(environ: dict[str, Any]) -> tuple[int, list[tuple[str, str]], list[bytes]]:
        return 200, [], pieces

    sender = served(application, Sender(), soon=early if soon else None)

    whole = b"".join(pieces)
    assert sender.answer == (200, [(b"content-length", str(len(whole)).encode())], whole)
    assert [one["body"] for one in sender.said[1:]] == sent


def test_a_long_body_comes_whole() -> None:
    application = Application()
    body = bytes(range(256)) * 1024
    assert len(body) > IN_MEMORY

    served(application, Sender(pieces=[body[:1000], body[1000:]]), ("transfer-encoding", "chunked"))

    assert application.bodies == [body]
    assert application.seen[0]["CONTENT_LENGTH"] == str(len(body))
    assert "HTTP_TRANSFER_ENCODING" not in application.seen[0]


def test_a_long_body_for_which_there_is_no_room_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    application = Application()

    sender = served(application, Sender(pieces=[b"x" * 70_000, b"x" * 70_000]), ("content-length", "140000"))

    status, headers, body = sender.answer
    assert (status, dict(headers)[b"Retry-After"], json.loads(body)["status"]) == (503, b"5", 503)
    assert application.seen == []


def test_a_body_that_never_ends_takes_no_thread() -> None:
    application = Application()

    sender = served(application, Sender(pieces=[b"{"], hangs=True), ("content-length", "1000"), within=0.05)

    assert application.seen == []
    assert sender.answer[0] == 408


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("/scim/v2/x/Users", "application/scim+json", {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "408"}),
        ("/scim/v2", "application/scim+json", {"status": "408"}),
        ("/hr/x", "application/problem+json", {"type": "about:blank", "status": 408, "title": "Request Timeout"}),
        ("/scimitar", "application/problem+json", {"status": 408}),
    ],
)
def test_who_sends_no_body_is_told_as_by_the_door_behind(path: str, kind: str, said: dict[str, Any]) -> None:
    sender = Sender(pieces=[b"{"], hangs=True)

    asyncio.run(
        Buffered(Application(), threads=1, limit=1000, within=0.05)(
            {**scope(("content-length", "1000")), "path": path, "raw_path": path.encode()}, sender.receive, sender.send
        )
    )

    status, headers, body = sender.answer
    named = {name.decode().lower(): value.decode() for name, value in headers}
    told = json.loads(body)
    assert (status, named["content-type"].partition(";")[0], named["content-length"]) == (408, kind, str(len(body)))
    assert {name: told[name] for name in said} == said and told["detail"] == "the body did not come within 0.05 seconds"


@pytest.mark.parametrize("headers", [[("content-length", "101")], [("transfer-encoding", "chunked")]])
def test_of_a_body_that_is_too_long_no_more_is_read_than_shows_it(headers: list[tuple[str, str]]) -> None:
    application = Application()
    sender = Sender(pieces=[b"x" * 60] * 1000)

    served(application, sender, *headers, limit=100)

    assert sender.taken <= 2
    assert int(application.seen[0]["CONTENT_LENGTH"]) > 100


def test_an_application_that_fails_is_answered_for() -> None:
    def fails(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise RuntimeError("its insides")

    sender = served(fails, Sender(), ("host", "x"))

    assert sender.answer[0] == 500
    assert b"insides" not in sender.answer[2]


@pytest.mark.parametrize("soon", [False, True])
@pytest.mark.parametrize(("path", "kind"), [("/scim/v2/x/Users", "application/scim+json"), ("/hr/x", "application/problem+json")])
def test_a_fault_is_told_as_by_the_door_behind(soon: bool, path: str, kind: str) -> None:
    def fails(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise RuntimeError("its insides")

    async def fails_soon(environ: dict[str, Any]) -> None:
        raise RuntimeError("its insides")

    sender = Sender(pieces=[b""])
    front = Buffered(fails, threads=1, limit=1000, soon=fails_soon if soon else None)
    asyncio.run(front({**scope(), "path": path, "raw_path": path.encode()}, sender.receive, sender.send))

    status, headers, body = sender.answer
    named = {name.decode().lower(): value.decode() for name, value in headers}
    assert (status, named["content-type"].partition(";")[0]) == (500, kind)
    assert json.loads(body)["detail"] == "something went wrong here; the log has the cause"
    assert str(json.loads(body)["status"]) == "500"


def test_whoever_leaves_in_the_middle_is_not_answered() -> None:
    application = Application()

    sender = served(application, Sender(pieces=[b"{"], leaves=True), ("content-length", "1000"))

    assert (application.seen, sender.said) == ([], [])


@pytest.mark.parametrize(("status", "length"), [("204 NO CONTENT", []), ("304 NOT MODIFIED", []), ("200 OK", [(b"content-length", b"0")])])
def test_an_answer_says_how_long_it_is_where_it_may(status: str, length: list[tuple[bytes, bytes]]) -> None:
    def empty(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response(status, [])
        return []

    assert served(empty, Sender()).answer[1] == length


def test_what_is_to_be_done_at_the_end_is_done_then() -> None:
    told: list[str] = []
    asked = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> dict[str, Any]:
        return {"type": next(asked)}

    async def send(message: dict[str, Any]) -> None:
        told.append(message["type"])

    buffered = Buffered(Application(), threads=1, limit=10, at_end=lambda: told.append("done"))
    asyncio.run(buffered({"type": "lifespan"}, receive, send))

    assert told == ["lifespan.startup.complete", "done", "lifespan.shutdown.complete"]


def test_what_the_loop_answers_needs_no_thread() -> None:
    application = Application()

    async def soon(environ: dict[str, Any]) -> tuple[int, list[tuple[str, str]], list[bytes]] | None:
        return 200, [("X", "y"), ("Content-Length", "3")], [environ["wsgi.input"].read()]

    sender = served(application, Sender(pieces=[b"abc"]), ("content-length", "3"), soon=soon)

    assert sender.answer == (200, [(b"X", b"y"), (b"Content-Length", b"3")], b"abc")
    assert application.seen == []


def test_what_the_loop_leaves_is_for_a_thread() -> None:
    application = Application()

    async def soon(environ: dict[str, Any]) -> None:
        return None

    sender = served(application, Sender(pieces=[b"abc"]), ("content-length", "3"), soon=soon)

    assert sender.answer[0] == 201
    assert application.bodies == [b"abc"]


def test_a_fault_on_the_loop_is_answered_and_written_down(caplog: pytest.LogCaptureFixture) -> None:
    application = Application()

    async def soon(environ: dict[str, Any]) -> None:
        raise KeyError("a fault of ours")

    sender = served(application, Sender(), soon=soon)

    assert sender.answer[0] == 500
    assert "did not answer" in caplog.text
    # It may have been done already: nobody does it again.
    assert application.seen == []


@pytest.mark.parametrize(("path", "kind"), [(b"/scim/v2/x/Users", "application/scim+json"), (b"/hr/x", "application/problem+json")])
def test_who_still_waits_for_a_thread_when_the_server_ends_is_told_to_come_again(path: bytes, kind: str) -> None:
    application, began, free = Application(), threading.Event(), threading.Event()

    def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        began.set()
        assert free.wait(30)
        return application(environ, start_response)

    async def told() -> list[Sender]:
        buffered, senders = Buffered(slow, threads=1, limit=10), [Sender(), Sender()]
        tasks = [asyncio.create_task(buffered(scope() | {"raw_path": path}, one.receive, one.send)) for one in senders]
        await asyncio.get_running_loop().run_in_executor(None, began.wait)
        # As uvicorn does with what is left after its patience.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        free.set()
        return senders

    for sender in asyncio.run(told()):
        status, headers, body = sender.answer
        assert (status, dict(headers)[b"Retry-After"], dict(headers)[b"Content-Type"].decode().split(";")[0]) == (503, b"5", kind)
        assert "being stopped" in json.loads(body)["detail"]
