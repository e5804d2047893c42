"""What the event loop answers goes past ASGI, and says on the wire what uvicorn would have said."""

import asyncio
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from app.commands import direct
from app.commands.buffered import IN_MEMORY, Buffered, Early
from app.commands.direct import Direct
from app.commands.listening import Guarded
from tests.unit.commands.wires import SOON, Soon, Wire, application, at_once, connected, heard, later, left_later, settled

GET = b"GET /a%20b?x=%20y HTTP/1.1\r\nHost: here\r\n\r\n"
POST = b'POST /scim/v2/x/Users HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}'
REQUESTS = {
    "get": GET,
    "post": POST,
    "head": GET.replace(b"GET", b"HEAD"),
    "put without a body": b"PUT /x HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n",
    "longer than is taken": b"POST /x HTTP/1.1\r\nHost: here\r\nContent-Length: 1500\r\n\r\n" + b"x" * 1500,
    "chunks": b"POST /x HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "a word is waited for": b"POST /x HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    "an old version": b"GET /x HTTP/1.0\r\nHost: here\r\nConnection: keep-alive\r\n\r\n",
    "the last one": b"GET /x HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n" + GET,
    "a whole address": b"GET http://here:80/x?y=1#z HTTP/1.1\r\nHost: here\r\n\r\n",
    "headers twice": b"GET /x HTTP/1.1\r\nHost: here\r\nX-A: 1\r\nx-a: 2\r\nX_A: 3\r\nX-Far: \xe9\r\n\r\n",
    "another protocol": b"GET /x HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + POST,
    "no length": b"POST /none HTTP/1.1\r\nHost: here\r\n\r\n",
    "much": b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n" + GET,
    "head of much": b"HEAD /large HTTP/1.1\r\nHost: here\r\n\r\n" + GET,
    "several": POST + GET + POST + GET,
}
WRONG = {
    "no address": b"GET x HTTP/1.1\r\nHost: here\r\n\r\n",
    "no port": b"GET http://here:8a/x HTTP/1.1\r\nHost: here\r\n\r\n",
    "no port, a body to come": b"POST http://here:8a/x HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\n",
    "no path": b"GET http://here HTTP/1.1\r\nHost: here\r\n\r\n",
    "no path, a body to come": b"POST http://here HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\n",
    "no ASCII": b"GET /\xff HTTP/1.1\r\nHost: here\r\n\r\n",
    "no ASCII in the query": b"GET /x?\xff HTTP/1.1\r\nHost: here\r\n\r\n",
    "rubbish": b"\x16\x03\x01\x02\x00",
    "two lengths": b"POST /x HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
}


@pytest.mark.parametrize("expected_for", [direct.REST_SOON, 0.0])
@pytest.mark.parametrize("soon", SOON)
@pytest.mark.parametrize("name", REQUESTS | WRONG)
def test_the_same_is_said_as_by_uvicorn(name: str, soon: Soon, expected_for: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "REST_SOON", expected_for)
    raw = (REQUESTS | WRONG)[name]
    bytewise = [raw[at : at + 1] for at in range(len(raw))]

    for pieces in ([raw], bytewise):
        assert heard(Direct, soon, pieces, settles=True) == heard(Guarded, soon, pieces, settles=True)
    assert b"HTTP/1.1 " in heard(Direct, soon, [raw], settles=True)[0]


@given(
    st.lists(st.sampled_from([*REQUESTS.values()]), min_size=1, max_size=4), st.sampled_from(SOON),
    st.lists(st.integers(0, 400), max_size=5), st.booleans(), st.sampled_from([direct.REST_SOON, 0.0]),
)  # fmt: skip
def test_the_same_is_said_wherever_it_is_cut(requests: list[bytes], soon: Soon, cuts: list[int], settles: bool, expected_for: float) -> None:
    raw = b"".join(requests)
    places = [0, *sorted(cuts), len(raw)]
    pieces = [raw[one:other] for one, other in pairwise(places) if one < other]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(direct, "REST_SOON", expected_for)
        assert heard(Direct, soon, pieces, settles=settles) == heard(Guarded, soon, pieces, settles=settles)


@pytest.mark.parametrize("protocol", [Direct, Guarded])
def test_what_comes_behind_the_last_request_takes_its_answer_from_nobody(protocol: type[Guarded]) -> None:
    """Also where another protocol was asked for before, as Java's client does with all that it sends."""
    another = b"GET /x HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"

    said, ended = heard(protocol, at_once, [another + REQUESTS["the last one"]], settles=True)

    assert (said.count(b"HTTP/1.1 201 "), said.count(b"HTTP/1.1 "), ended) == (2, 2, True)


@pytest.mark.parametrize("last", ["an old version", "the last one"])
def test_nothing_is_done_that_comes_behind_the_last_request(last: str) -> None:
    asked: list[str] = []

    async def notes(environ: dict[str, Any]) -> Early:
        asked.append(environ["REQUEST_METHOD"])
        return await at_once(environ)

    for rest in (POST, POST[:-3], REQUESTS["another protocol"], REQUESTS["chunks"]):
        asked.clear()
        said, ended = heard(Direct, notes, [REQUESTS[last] + rest], settles=True)
        assert (asked, said.count(b"HTTP/1.1 "), ended) == (["GET"], 1, True)


def test_a_body_behind_an_answer_that_could_not_be_sent_is_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection ends: what still comes is neither that request's nor refused as if it were wrong."""
    refused: list[str] = []
    monkeypatch.setattr(Direct, "send_400_response", lambda _, words: refused.append(words))

    async def wrong(environ: dict[str, Any]) -> Early:
        return 200, [("Content-Length", "3")], [b"body"]

    assert heard(Direct, wrong, [GET + POST], settles=True) == (b"", True)
    assert not refused


def test_what_cannot_be_read_is_refused_behind_the_answer_to_what_could() -> None:
    said, ended = heard(Direct, at_once, [GET + WRONG["rubbish"]], settles=True)

    assert said.startswith(b"HTTP/1.1 201 ") and said.count(b"HTTP/1.1 ") == 2 and b"HTTP/1.1 400 " in said
    assert ended


def test_an_answer_that_waits_for_nothing_is_sent_at_once_and_in_one_packet() -> None:
    async def talk() -> None:
        wire = Wire()
        state = connected(Direct, at_once, wire)
        for number in (1, 2):
            wire.server.data_received(POST)
            assert (len(wire.said), state.tasks, state.total_requests) == (number, set(), number)
        assert wire.said[0].startswith(b"HTTP/1.1 201 Created\r\ndate: today\r\nx-one: 1\r\n") and wire.said[0].endswith(b']')
        # Idle from now on.
        assert wire.server.timeout_keep_alive_task is not None and not wire.closing

    asyncio.run(talk())


def test_a_body_right_behind_its_head_goes_as_directly() -> None:
    """Python's http.client, and many others, send a head and its body by themselves."""

    async def talk() -> None:
        wire = Wire()
        state = connected(Direct, at_once, wire)
        for number in (1, 2):
            for piece in (POST[:-7], POST[-7:-4], POST[-4:]):
                assert len(wire.said) == number - 1
                wire.server.data_received(piece)
                await asyncio.sleep(0)
                assert not state.tasks
            assert len(wire.said) == number and b'{\\"a\\":1}' in wire.said[-1]

    asyncio.run(talk())


async def held(soon: Soon) -> tuple[Wire, ServerState]:
    """A connection whose request is here in part."""
    wire = Wire()
    state = connected(Direct, soon, wire)
    wire.server.data_received(POST[:-3])
    assert not state.tasks
    return wire, state


def test_a_body_that_takes_time_is_uvicorns_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "REST_SOON", 0.0)

    async def talk() -> None:
        wire, state = await held(at_once)
        async with asyncio.timeout(10):
            while not state.tasks:
                await asyncio.sleep(0)
        assert not wire.said
        wire.server.data_received(POST[-3:])
        await settled(state)
        assert b'{\\"a\\":1}' in b"".join(wire.said)

    asyncio.run(talk())


def test_at_the_servers_end_whose_head_is_here_is_answered() -> None:
    async def talk() -> None:
        wire, state = await held(at_once)
        wire.server.shutdown()
        assert not wire.closing
        wire.server.data_received(POST[-3:])
        await settled(state)
        said = b"".join(wire.said)
        assert b"\r\nconnection: close\r\n" in said and b'{\\"a\\":1}' in said and wire.closing

    asyncio.run(talk())


def test_whoever_goes_in_the_middle_of_a_body_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "REST_SOON", 0.0)
    failed: list[dict[str, Any]] = []

    async def talk() -> None:
        loop, later = asyncio.get_running_loop(), asyncio.Event()
        loop.set_exception_handler(lambda _, failure: failed.append(failure))
        wire, state = await held(at_once)
        wire.server.connection_lost(ConnectionResetError())
        loop.call_later(0.0, later.set)
        await later.wait()
        assert not state.tasks and not wire.said

    asyncio.run(talk())
    assert not failed


def test_of_many_that_come_together_one_takes_its_turn_at_once() -> None:
    """Else whoever sends thousands in one piece would hold up everybody else until all of theirs are answered."""

    async def talk() -> None:
        wire = Wire()
        state = connected(Direct, at_once, wire)
        wire.server.data_received(GET * 3)
        assert len(wire.said) == 1 and state.tasks
        await settled(state)
        assert b"".join(wire.said).count(b"HTTP/1.1 201 ") == 3

    asyncio.run(talk())


@pytest.mark.parametrize(("length", "at_once_too"), [(IN_MEMORY, True), (IN_MEMORY + 1, False)])
def test_a_long_body_goes_the_way_on_which_it_may_go_to_a_file(length: int, at_once_too: bool) -> None:
    async def talk() -> None:
        wire = Wire()
        state = connected(Direct, at_once, wire, limit=10 * IN_MEMORY)
        wire.server.data_received(b"POST /none HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % length + b"x" * length)
        assert bool(wire.said) is at_once_too
        await settled(state)
        assert wire.said
        # An idle connection keeps nothing of it.
        assert wire.server._body == b""  # type: ignore[attr-defined]  # only Direct has one

    asyncio.run(talk())


def test_an_answer_may_say_itself_that_it_is_the_last_one() -> None:
    async def last(environ: dict[str, Any]) -> Early:
        return 200, [("Connection", "close")], [b"body"]

    assert heard(Direct, last, [GET], settles=True) == heard(Guarded, last, [GET], settles=True)
    assert heard(Direct, last, [GET], settles=True)[1]


def test_what_was_asked_about_is_not_asked_again_nor_read_anew() -> None:
    asked: list[dict[str, Any]] = []

    async def marks(environ: dict[str, Any]) -> None:
        environ["doorlist.marked"] = "here"
        asked.append(environ)

    said, _ = heard(Direct, marks, [POST], settles=True)

    assert len(asked) == 1 and b"doorlist.marked" in said


def test_whoever_has_gone_is_told_nothing_more() -> None:
    async def talk() -> None:
        wire = Wire(reads=False)
        state = connected(Direct, at_once, wire)
        wire.server.pause_writing()
        wire.server.data_received(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n")
        await asyncio.sleep(0)
        assert wire.said == [] and state.tasks
        wire.server.connection_lost(ConnectionResetError())
        await settled(state)
        assert wire.said == []

    asyncio.run(talk())


def test_what_is_left_to_a_thread_is_done_though_whoever_asked_has_gone() -> None:
    done: list[str] = []
    gate = asyncio.Event()

    async def waits(environ: dict[str, Any]) -> None:
        await gate.wait()

    def notes(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        done.append(environ["REQUEST_METHOD"])
        return application(environ, start_response)

    async def talk() -> None:
        wire = Wire()
        state = connected(Direct, waits, wire)
        wire.server.app = Buffered(notes, threads=1, limit=1000, soon=waits)
        wire.server.data_received(POST)
        wire.server.connection_lost(None)
        gate.set()
        await settled(state)
        assert (done, wire.said) == (["POST"], [])

    asyncio.run(talk())


@pytest.mark.parametrize("soon", [later, left_later])
def test_at_the_servers_end_who_is_in_hand_is_answered_and_told_that_it_is_the_last_one(soon: Soon) -> None:
    async def talk() -> None:
        wire = Wire()
        state = connected(Direct, soon, wire)
        wire.server.data_received(GET)
        wire.server.shutdown()
        assert not wire.closing
        await settled(state)
        assert b"\r\nconnection: close\r\n" in b"".join(wire.said) and wire.closing

    asyncio.run(talk())


def test_who_is_not_answered_when_the_servers_patience_ends_is_not_kept_waiting() -> None:
    async def never(environ: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    async def talk() -> None:
        wire = Wire()
        state = connected(Direct, never, wire)
        wire.server.data_received(GET)
        await asyncio.sleep(0)
        for task in state.tasks:
            task.cancel()
        await settled(state)
        assert wire.closing and not wire.said

    asyncio.run(talk())


@pytest.mark.parametrize(
    "answer",
    [
        (200, [("X-One", "\u20ac")], [b"body"]),
        (200, [("X-One", "1\r\nX-Doorlist-Person: somebody else")], [b"body"]),
        (200, [("X-One", "1\nX-Two: 2")], [b"body"]),
        (200, [("X-One: 1\r\nX-Two", "2")], [b"body"]),
        (200, [("Content-Length", "3")], [b"body"]),
        (200, [("Content-Length", "5")], [b"body"]),
        (204, [], [b"body"]),
    ],
    ids=["no Latin", "a second header", "a second line", "in a name", "longer than it says", "shorter than it says", "a body where none may be"],
)
def test_an_answer_that_would_be_read_as_another_ends_the_connection(answer: Early, caplog: pytest.LogCaptureFixture) -> None:
    async def wrong(environ: dict[str, Any]) -> Early:
        return answer

    said, ended = heard(Direct, wrong, [GET], settles=True)

    assert (said, ended) == (b"", True)
    assert "could not be sent" in caplog.text
