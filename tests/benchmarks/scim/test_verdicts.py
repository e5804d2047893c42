"""The benchmark's own judgement: a wrong answer never counts, and a promise that does not hold is said to be missed."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.benchmarks.scim import people
from tests.benchmarks.scim.answers import finds_only, is_changed_person, is_page, is_person
from tests.benchmarks.scim.load import Measured, measure
from tests.benchmarks.scim.operations import CELLS, Filled, Operation
from tests.benchmarks.scim.served import Served, Store
from tests.benchmarks.scim.table import FLOOR, OURS, Result, lines
from tests.benchmarks.scim.wire import split_answer


def shown(number: int, *, id: str | None = None, **more: Any) -> dict[str, Any]:
    return {**people.document(number), "id": id or f"id-{number}", **more}


def body(document: object) -> bytes:
    return json.dumps(document).encode()


def listing(resources: list[dict[str, Any]], *, total: int, start: int = 1) -> bytes:
    return body({"totalResults": total, "startIndex": start, "itemsPerPage": len(resources), "Resources": resources})


def test_the_person_who_was_asked_for_is_right() -> None:
    assert is_person(7, "id-7")(200, body(shown(7))) is None


@pytest.mark.parametrize(
    ("status", "answer"),
    [(200, shown(8)), (200, shown(7, id="another")), (200, shown(7, externalId="another")), (404, shown(7)), (200, {})],
)
def test_anybody_else_is_wrong(status: int, answer: dict[str, Any]) -> None:
    assert is_person(7, "id-7")(status, body(answer)) is not None


def test_a_patch_that_shows_what_was_not_said_is_wrong() -> None:
    check = is_changed_person(7, "id-7", active=False)

    assert check(204, b"") is None
    assert check(200, body(shown(7, active=False))) is None
    assert check(200, body(shown(7, active=True))) is not None


def test_a_look_up_that_finds_nobody_or_more_than_one_is_wrong() -> None:
    check = finds_only(7, "id-7")

    assert check(200, listing([shown(7)], total=1)) is None
    assert check(200, listing([], total=0)) is not None
    assert check(200, listing([shown(7), shown(8)], total=2)) is not None
    assert check(200, listing([shown(8)], total=1)) is not None


def test_a_page_that_is_cut_repeated_miscounted_or_of_strangers_is_wrong() -> None:
    known = frozenset(f"id-{number}" for number in range(10))
    check = is_page(start=6, count=5, total=10, known=known)
    page = [shown(number) for number in range(5, 10)]

    assert check(200, listing(page, total=10, start=6)) is None
    assert check(200, listing(page[:4], total=10, start=6)) is not None
    assert check(200, listing([*page[:4], page[0]], total=10, start=6)) is not None
    assert check(200, listing(page, total=5, start=6)) is not None
    assert check(200, listing(page, total=10, start=1)) is not None
    assert check(200, listing([*page[:4], shown(77)], total=10, start=6)) is not None


def test_an_answer_is_whole_only_at_its_end() -> None:
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"

    for whole in (plain, chunked):
        assert split_answer(whole) == (200, b"hello", False)
        assert [split_answer(whole[:end]) for end in range(len(whole))] == [None] * len(whole)
    assert split_answer(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n") == (204, b"", True)


@contextmanager
def server(answer: Callable[[str], tuple[int, object]]) -> Iterator[Filled]:
    """A server that answers GET as told, filled with ten people, or so it says."""

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, document = answer(self.path)
            text = body(document)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            served = Served(
                port=listening.server_port, prefix="/scim", token="t", ids=[f"id-{number}" for number in range(10)], group="g",
                members=frozenset(), process=process,
            )  # fmt: skip
            try:
                yield Filled(served=served, size=10)
            finally:
                listening.shutdown()
                thread.join()


def test_a_server_that_answers_rightly_is_measured() -> None:
    with server(lambda path: (200, shown(int(path.rpartition("-")[2])))) as filled:
        (measured,) = measure(filled, CELLS[0], at_once=2, seconds=0.05, warm=0.0)

    assert measured.wrong is None
    assert measured.count >= 4
    assert measured.rate > 0


def test_a_server_that_is_wrong_once_does_not_count() -> None:
    asked: list[str] = []

    def answer(path: str) -> tuple[int, object]:
        asked.append(path)
        return (500, {}) if len(asked) == 3 else (200, shown(int(path.rpartition("-")[2])))

    with server(answer) as filled:
        (measured,) = measure(filled, CELLS[0], at_once=2, seconds=0.05, warm=0.0)

    assert measured.wrong is not None
    assert "500" in measured.wrong


def result(server: str, rate: float, *, store: Store = Store.SQLITE, at_once: int = 8, wrong: str | None = None) -> Result:
    measured = Measured(operation=Operation.GET, at_once=at_once, rate=rate, p50=0.001, p99=0.002, count=100, wrong=wrong)
    return Result(server=server, store=store, size=10_000, measured=measured)


def misses(*results: Result) -> list[str]:
    (line,) = lines(results)
    return line.misses


def test_twice_the_best_right_answer_holds_and_less_is_missed() -> None:
    assert misses(result(OURS, 2000), result("a", 1000), result("b", 400)) == []
    assert misses(result(OURS, 1999), result("a", 1000), result("b", 400)) != []


def test_a_rate_of_wrong_answers_is_no_rate() -> None:
    assert misses(result(OURS, 2000), result("a", 1000), result("b", 9000, wrong="found nobody")) == []
    assert misses(result(OURS, 9000, wrong="found nobody"), result("a", 1000)) != []


def test_one_at_a_time_on_postgresql_must_only_be_equal() -> None:
    other = result("a", 1000, at_once=1)

    assert misses(result(OURS, 1000, store=Store.POSTGRESQL, at_once=1), other) == []
    assert misses(result(OURS, 999, store=Store.POSTGRESQL, at_once=1), other) != []


def test_half_the_rate_of_the_floor_on_the_same_database_holds_and_less_is_missed() -> None:
    other = result(FLOOR, 99_000, store=Store.POSTGRESQL)

    assert misses(result(OURS, 1000), result(FLOOR, 2000), other) == []
    assert misses(result(OURS, 1000), result(FLOOR, 2001), other) != []
