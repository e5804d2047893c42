"""What every call to a vendor keeps: time limits, one retry of reads, errors that say what to do, no secrets told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import requests
import responses

from connectors.contract import (
    Conflict,
    ConnectorError,
    Misconfigured,
    Missing,
    RateLimited,
    Refused,
    Secret,
    Unauthorised,
    Unreachable,
)
from connectors.http import Caller, path

URL = "http://workspace.test"
TOKEN = "syt_very-secret-token"


def caller(*, url: str = URL, total_seconds: float = 9.0) -> Caller:
    return Caller(name="chat", url=url, token=Secret(TOKEN), total_seconds=total_seconds)


@contextmanager
def server(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """A listener that treats each connection as told, to show what a real one can do to us."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    behave(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@responses.activate
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, Refused),
        (401, Unauthorised),
        (403, Refused),
        (404, Missing),
        (409, Conflict),
        (500, Unreachable),
        (503, Unreachable),
    ],
)
def test_the_class_of_an_error_says_what_to_do_next(status: int, expected: type[ConnectorError]) -> None:
    responses.post(f"{URL}/thing", json={"error": "no"}, status=status)

    with pytest.raises(expected, match=r"chat: POST /thing"):
        caller().post("/thing", {})


@responses.activate
def test_a_rate_limit_says_how_long_to_wait_in_seconds() -> None:
    responses.get(f"{URL}/thing", json={}, status=429, headers={"Retry-After": "7"})

    with pytest.raises(RateLimited) as caught:
        caller().get("/thing")

    assert caught.value.wait == 7


@responses.activate
def test_a_rate_limit_says_how_long_to_wait_until_a_date() -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    responses.get(f"{URL}/thing", json={}, status=429, headers={"Retry-After": until})

    with pytest.raises(RateLimited) as caught:
        caller().get("/thing")

    assert 25 < caught.value.wait <= 30


@responses.activate
def test_a_rate_limit_says_how_long_to_wait_in_the_words_of_matrix() -> None:
    responses.get(f"{URL}/thing", json={"retry_after_ms": 1500}, status=429)

    with pytest.raises(RateLimited) as caught:
        caller().get("/thing")

    assert caught.value.wait == 1.5


@responses.activate
@pytest.mark.parametrize("header", ["soon", "nan", "-3", "99999999", "Mon, 30 Nov 99999999999 11:00:00 GMT"])
def test_a_rate_limit_with_a_senseless_wait_still_waits_sensibly(header: str) -> None:
    responses.get(f"{URL}/thing", body="slow down", status=429, headers={"Retry-After": header})

    with pytest.raises(RateLimited) as caught:
        caller().get("/thing")

    assert 0 <= caught.value.wait <= 3600


@responses.activate
@pytest.mark.parametrize("said", ["-3", "1e999", "NaN", f"1{'0' * 400}", f"-1{'0' * 400}"])
def test_so_it_does_where_the_words_of_matrix_have_no_sense(said: str) -> None:
    responses.get(f"{URL}/thing", body=f'{{"retry_after_ms": {said}}}', status=429)

    with pytest.raises(RateLimited) as caught:
        caller().get("/thing")

    assert 0 <= caught.value.wait <= 3600


@responses.activate
def test_a_read_is_tried_a_second_time() -> None:
    responses.get(f"{URL}/thing", body=requests.exceptions.ReadTimeout())
    responses.get(f"{URL}/thing", json={"name": "ada"})

    assert caller().get("/thing").document.text("name") == "ada"


@responses.activate
def test_a_read_is_not_tried_a_third_time() -> None:
    responses.get(f"{URL}/thing", json={}, status=502)

    with pytest.raises(Unreachable):
        caller().get("/thing")

    assert len(responses.calls) == 2


@responses.activate
def test_a_change_that_may_have_happened_is_not_repeated() -> None:
    responses.post(f"{URL}/thing", body=requests.exceptions.ReadTimeout())

    with pytest.raises(Unreachable) as caught:
        caller().post("/thing", {})

    assert caught.value.sent
    assert len(responses.calls) == 1


def test_nobody_listening_means_surely_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(Unreachable) as caught:
        caller(url=f"http://127.0.0.1:{port}").post("/thing", {})

    assert not caught.value.sent


def test_a_connection_closed_without_an_answer_may_have_been_sent() -> None:
    def hang_up(connection: socket.socket) -> None:
        connection.recv(65536)

    with server(hang_up) as url, pytest.raises(Unreachable) as caught:
        caller(url=url).post("/thing", {})

    assert caught.value.sent


def test_a_server_that_never_answers_is_left_in_time() -> None:
    release = threading.Event()

    def keep_silent(connection: socket.socket) -> None:
        release.wait(20)

    started = time.monotonic()
    with server(keep_silent) as url:
        try:
            with pytest.raises(Unreachable):
                caller(url=url, total_seconds=0.5).post("/thing", {})
        finally:
            release.set()

    assert time.monotonic() - started < 10


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b""])
def test_a_server_that_dribbles_for_ever_is_left_in_time(head: bytes) -> None:
    def dribble(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(400):
            connection.sendall(b" ")
            time.sleep(0.05)

    with server(dribble) as url:
        started = time.monotonic()
        with pytest.raises(Unreachable):
            caller(url=url, total_seconds=0.5).post("/thing", {})
        took = time.monotonic() - started

    assert took < 10


@pytest.mark.parametrize("length", [b"-5", b"-1"])
def test_a_chunk_of_negative_length_is_no_answer_and_not_read(length: bytes) -> None:
    pieces, sent = 32 * 1024 * 1024 // 65536, []

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + length + b"\r\n")
        for piece in range(pieces):
            connection.sendall(bytes(65536))
            sent.append(piece)

    with server(answer) as url, pytest.raises(Unreachable):
        caller(url=url).post("/thing", {})

    assert len(sent) < pieces


@responses.activate
def test_a_redirect_is_not_followed() -> None:
    responses.get(f"{URL}/thing", status=302, headers={"Location": "http://elsewhere.test/"})
    responses.get("http://elsewhere.test/", json={})

    with pytest.raises(Misconfigured, match="302"):
        caller().get("/thing")

    assert len(responses.calls) == 1


@responses.activate
@pytest.mark.parametrize("status", [200, 401, 404])
def test_a_page_of_a_proxy_is_no_answer(status: int) -> None:
    responses.get(f"{URL}/thing", body="<html>nothing here</html>", status=status)

    with pytest.raises(Unreachable):
        caller().find("/thing")


@responses.activate
def test_a_field_of_another_type_is_no_answer() -> None:
    responses.get(f"{URL}/thing", json={"devices": "none"})

    with pytest.raises(Unreachable, match="devices"):
        list(caller().get("/thing").document.parts("devices"))


@responses.activate
def test_an_error_that_echoes_our_token_does_not_tell_it() -> None:
    responses.post(f"{URL}/thing", json={"error": f"unknown token {TOKEN}"}, status=401)

    with pytest.raises(Unauthorised) as caught:
        caller().post("/thing", {})

    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("token", ["", "two\nlines", "ümlaut"])
def test_a_token_that_cannot_be_one_is_refused_without_telling_it(token: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Caller(name="chat", url=URL, token=Secret(token))

    assert not token or token not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["chat.example", "ftp://chat.example", "https://root:pw@chat.example", "https://[::1", "https://chat]", "https://chat.example?", "https://chat.example/#/home"],
)
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured):
        caller(url=url)


@pytest.mark.parametrize("host", ["chat..example", "a" * 64])
def test_a_host_that_no_name_can_be_is_refused_when_it_is_called(host: str) -> None:
    with pytest.raises(Misconfigured, match="the address cannot be called"):
        caller(url=f"http://{host}").get("/thing")


def test_a_part_of_a_path_stays_one_segment() -> None:
    assert path("/users/{}", "@a/b:chat?x") == "/users/%40a%2Fb%3Achat%3Fx"


def test_a_secret_does_not_show_itself() -> None:
    assert TOKEN not in f"{Secret(TOKEN)} {Secret(TOKEN)!r}"
