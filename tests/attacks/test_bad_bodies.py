"""P03: bodies that are too deep, too many, too large, too slow, said twice or not what they claim to be."""

import gzip
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.clients.directory import PATCH_URN, Directory
from tests.clients.transcript import Answer


def _is_refused(answer: Answer, status: int, problem: str | None = None) -> bool:
    assert (answer.status, answer.document.get("scimType")) == (status, problem), answer.text[:300]
    assert answer.headers["Content-Type"].startswith("application/scim+json")
    assert answer.document["detail"]
    assert len(answer.text) < 1_000, "a refusal does not send the body back"
    return True


def _operations(*operations: Any) -> bytes:
    return json.dumps({"schemas": [PATCH_URN], "Operations": operations}, separators=(",", ":")).encode()


def test_p03_deep_nesting_is_refused_and_ends_nothing(directory: Directory) -> None:
    ada = directory.add_user("ada")
    before = directory.written()

    for depth, (opening, closing) in itertools.product((40, 100_000), (("[", "]"), ('{"a":', "}"), ('[{"a":', "}]"))):
        deep = opening * depth + "1" + closing * depth
        for method, path, body in (
            ("POST", "/Users", f'{{"userName":"x","a":{deep}}}'),
            ("PUT", f"/Users/{ada}", f'{{"userName":"x","emails":{deep}}}'),
            ("PATCH", f"/Users/{ada}", f'{{"Operations":[{{"op":"add","path":"a","value":{deep}}}]}}'),
            ("POST", "/Groups", f'{{"displayName":"x","members":{deep}}}'),
            ("POST", "/Users", deep),
        ):
            assert _is_refused(directory.send(method, path, body), 400, "invalidSyntax")

    assert directory.written() == before
    assert directory.send("GET", f"/Users/{ada}").status == 200


def test_p03_a_hundred_thousand_operations_are_refused_at_once(directory: Directory) -> None:
    ada = directory.add_user("ada")
    group = directory.send("POST", "/Groups", {"displayName": "x"}).document["id"]
    before = directory.written()
    bodies = [
        _operations(*[{"op": "add", "path": "title", "value": "x"}] * 100_000),
        _operations(*[{"op": "add", "path": "a", "value": 1}] * 50_000),
        _operations({"op": "add", "value": {f"a{number}": 1 for number in range(100_000)}}),
        _operations(*[{"op": "remove", "path": 'emails[value eq "x"]'}] * 30_000),
    ]

    began = time.thread_time()
    answers = [directory.send("PATCH", path, body) for body in bodies for path in (f"/Users/{ada}", f"/Groups/{group}")]

    assert all(_is_refused(answer, 413) for answer in answers)
    assert time.thread_time() - began < 10
    assert directory.written() == before


def test_p03_a_group_may_be_told_of_each_of_its_members_in_an_operation_of_its_own(directory: Directory) -> None:
    ada = directory.add_user("ada")
    group = directory.send("POST", "/Groups", {"displayName": "x"}).document["id"]
    add, remove = {"op": "add", "path": "members", "value": [{"value": ada}]}, {"op": "remove", "path": f'members[value eq "{ada}"]'}

    answer = directory.send("PATCH", f"/Groups/{group}", _operations(*[add, remove] * 2_500, add))

    assert answer.status == 204, answer.text
    assert [member["value"] for member in directory.send("GET", f"/Groups/{group}").document["members"]] == [ada]


def test_p03_many_values_cost_no_more_than_their_number(directory: Directory) -> None:
    # Each of these compared every value with every other one once: 10^10 comparisons, while nobody else could write.
    many = [{"value": f"{number}"} for number in range(60_000)]
    ada = directory.add_user("ada")
    began = time.thread_time()

    added = directory.send("PATCH", f"/Users/{ada}", _operations({"op": "add", "path": "roles", "value": many}))
    primary = [{"value": f"{number}", "primary": True} for number in range(30_000)]
    marked = directory.send("PATCH", f"/Users/{ada}", _operations({"op": "add", "path": "roles", "value": primary}))
    created = directory.send("POST", "/Users", {"userName": "eve", "roles": many})
    taken = directory.send("PATCH", f"/Users/{ada}", _operations({"op": "remove", "path": "roles", "value": many}))

    assert [answer.status for answer in (added, marked, created, taken)] == [200, 200, 201, 200]
    assert [role["value"] for role in marked.document["roles"] if role.get("primary")] == ["29999"]
    assert taken.document.get("roles", []) == []
    assert time.thread_time() - began < 10


def test_p03_more_addresses_than_a_statement_has_places_come_and_go(directory: Directory) -> None:
    # SQLite takes 32,766 values in one statement, PostgreSQL 65,535.
    emails = [{"value": f"{number}@x"} for number in range(70_000)]

    made = directory.send("POST", "/Users", json.dumps({"userName": "ada", "emails": emails}, separators=(",", ":")))
    found = directory.send("GET", '/Users?filter=emails.value%20eq%20"69999@x"')
    gone = directory.send("PUT", f"/Users/{made.document['id']}", {"userName": "ada"})

    assert (made.status, found.document["totalResults"], gone.status) == (201, 1, 200)
    assert directory.send("GET", '/Users?filter=emails.value%20eq%20"69999@x"').document["totalResults"] == 0


def test_p03_the_most_that_is_taken_is_taken_quickly(directory: Directory) -> None:
    ada = directory.add_user("ada", roles=[{"value": f"{number}", "type": "x"} for number in range(1_000)])
    began = time.thread_time()

    by_filter = directory.send(
        "PATCH", f"/Users/{ada}", _operations(*[{"op": "replace", "path": 'roles[type eq "x"].display', "value": "y"}] * 100)
    )
    removed = directory.send("PATCH", f"/Users/{ada}", _operations({"op": "remove", "path": 'roles[value ne "7"]'}))

    assert (by_filter.status, removed.status) == (200, 200)
    assert removed.document["roles"] == [{"value": "7", "type": "x", "display": "y"}]
    assert time.thread_time() - began < 10


def test_p03_of_a_key_that_is_said_twice_the_last_word_counts_everywhere(directory: Directory) -> None:
    said = [
        '{"userName":"first","userName":"last","active":true,"active":false,"externalId":"1","externalId":"2"}',
        '{"USERNAME":"first2","userName":"last2","Active":true,"active":false,"externalID":"3","externalId":"4"}',
    ]

    for body, name, key in zip(said, ("last", "last2"), ("2", "4"), strict=True):
        shown = directory.send("POST", "/Users", body).document

        assert (shown["userName"], shown["active"], shown["externalId"]) == (name, False, key)
        assert [attribute for attribute in shown if attribute.lower() in ("username", "active", "externalid")] == [
            "userName",
            "externalId",
            "active",
        ]
        for text, total in (
            (f'userName eq "{name}"', 1),
            (f'externalId eq "{key}"', 1),
            (f'userName eq "{name.replace("last", "first")}"', 0),
        ):
            assert directory.send("GET", f"/Users?filter={text}".replace(" ", "%20")).document["totalResults"] == total, text


@pytest.mark.parametrize(
    "body",
    [
        '{"Operations":[{"op":"remove","path":"title"}],"Operations":[{"op":"add","path":"title","value":"y"}]}',
        '{"Operations":[{"op":"remove","op":"add","path":"title","value":"y"}]}',
    ],
)
def test_p03_a_patch_that_says_its_operation_twice_does_neither(directory: Directory, body: str) -> None:
    ada = directory.add_user("ada", title="x")
    before = directory.written()

    answer = directory.send("PATCH", f"/Users/{ada}", body)

    assert (answer.status, answer.document["scimType"]) == (400, "invalidSyntax")
    assert directory.written() == before


def test_p03_what_is_no_number_of_json_is_refused(directory: Directory) -> None:
    ada = directory.add_user("ada")
    before = directory.written()

    for number in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 5_000, "0x10", "01", ".5", "1_000", "+1"):
        for method, path, body in (
            ("POST", "/Users", f'{{"userName":"x","badge":{number}}}'),
            ("PATCH", f"/Users/{ada}", f'{{"Operations":[{{"op":"add","path":"badge","value":{number}}}]}}'),
            ("PUT", f"/Users/{ada}", f'{{"userName":"ada","badge":[{number}]}}'),
        ):
            assert _is_refused(directory.send(method, path, body), 400, "invalidSyntax")

    assert directory.written() == before


def test_p03_large_and_small_numbers_come_back_as_they_were_said(directory: Directory) -> None:
    numbers = [0, -1, 9007199254740993, 123456789012345678901234567890, 1.5, 1e15, 5e-324, -0.0, 1e-7]

    ada = directory.add_user("ada", badges=numbers)

    assert directory.send("GET", f"/Users/{ada}").document["badges"] == numbers
    assert directory.send("GET", "/Users?filter=badges%20ge%202").document["totalResults"] == 1


def test_p03_a_large_body_is_not_read(directory: Directory) -> None:
    for method, path in (("POST", "/Users"), ("PUT", "/Users/x"), ("PATCH", "/Users/x"), ("POST", "/Groups")):
        assert _is_refused(directory.send(method, path, b" " * 3_000_000), 413)
    assert _is_refused(directory.send("POST", "/Users", b" " * 100_000_000), 413)


def test_p03_a_packed_body_is_refused_whatever_is_in_it(directory: Directory) -> None:
    plain = b'{"userName":"ada"}'
    bomb = gzip.compress(b'{"userName":"' + b"x" * 50_000_000 + b'"}')

    for coding in ("gzip", "deflate", "br", "zstd", "gzip, gzip", "x-gzip", "GZIP"):
        for body in (gzip.compress(plain), zlib.compress(plain), bomb, plain):
            answer = directory.send("POST", "/Users", body, Content_Encoding=coding)

            assert _is_refused(answer, 415)
            assert "Content-Encoding" in answer.document["detail"]
    assert directory.send("GET", "/Users").document["totalResults"] == 0
    assert directory.send("POST", "/Users", plain, Content_Encoding="identity").status == 201


def test_p21_a_body_in_another_charset_is_refused(directory: Directory) -> None:
    body = '{"userName":"é"}'

    for charset in ("utf-16", "utf-16le", "utf-32", "iso-8859-1", "windows-1252", "utf-7"):
        said = directory.send("POST", "/Users", body.encode(charset), Content_Type=f"application/scim+json; charset={charset}")

        assert _is_refused(said, 415)
        # UTF-7 is ASCII, and so is a text of its own when nobody says what it is.
        assert charset == "utf-7" or _is_refused(directory.send("POST", "/Users", body.encode(charset)), 400, "invalidSyntax")
    for charset in ("ebcdic", "x" * 1_000, "utf-8;utf-16", '"'):
        assert directory.send("POST", "/Users", "{}", Content_Type=f"application/json; charset={charset}").status in (400, 415)
    assert directory.send("GET", "/Users").document["totalResults"] == 0


def test_p21_what_may_be_said_of_a_body_in_json(directory: Directory) -> None:
    kinds = (
        "application/scim+json",
        "application/json",
        "application/scim+json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "APPLICATION/JSON",
        "",
    )
    others = (
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "text/json",
        "*/*",
        "application/jsonp",
    )

    taken = [directory.send("POST", "/Users", f'{{"userName":"é{number}"}}', Content_Type=kind) for number, kind in enumerate(kinds)]
    refused = [directory.send("POST", "/Users", '{"userName":"x"}', Content_Type=kind) for kind in others]

    assert [answer.status for answer in taken] == [201] * len(kinds)
    assert all(_is_refused(answer, 415) for answer in refused)
    assert directory.send("POST", "/Users", b'\xef\xbb\xbf{"userName":"bom"}').status == 201


def test_p21_a_method_is_what_the_request_line_says(directory: Directory) -> None:
    ada = directory.add_user("ada")

    for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        directory.send("GET", f"/Users/{ada}", **{header.replace("-", "_"): "DELETE"})
        directory.send("POST", f"/Users/{ada}", {"_method": "DELETE"}, **{header.replace("-", "_"): "DELETE"})
        directory.send("POST", f"/Users/{ada}?_method=DELETE", {})

    assert directory.send("GET", f"/Users/{ada}").status == 200


@contextmanager
def _served(directory: Directory) -> Iterator[tuple[str, int]]:
    """The same database behind `doorlist serve`."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = probe.getsockname()[:2]
    settings = directory.app.config["DOORLIST"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from app.program import main; main()", "serve", "--lanes", "none", "--port", str(address[1])],
        env=os.environ | {"DOORLIST_HOME": str(settings.home), "DATABASE_URL": settings.database_url, "PYTHONFAULTHANDLER": "1"},
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        assert any("serving on" in line for line in process.stderr), f"it ended with {process.wait()}"
        yield address
    finally:
        process.terminate()
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            pytest.fail(f"it does not end; it is here:\n{process.communicate()[1]}")


def _head(directory: Directory, *headers: str) -> bytes:
    lines = [
        f"POST {directory.base}/Users HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {directory.token}",
        "Content-Type: application/json",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("token", ["good", "wrong"])
def test_p03_slow_bodies_hold_up_nobody(directory: Directory, token: str) -> None:
    sender = directory if token == "good" else replace(directory, token="dl_wrong")
    with _served(directory) as address:
        slow = []
        for _ in range(40):
            one = socket.create_connection(address, timeout=30)
            one.sendall(_head(sender, "Content-Length: 1000") + b'{"userName":')
            slow.append(one)

        with socket.create_connection(address, timeout=5) as quick:
            body = b'{"userName":"ada"}'
            quick.sendall(_head(directory, f"Content-Length: {len(body)}", "Connection: close") + body)
            answered = quick.recv(65536)

        assert answered.startswith(b"HTTP/1.1 201"), answered[:200]
        for one in slow:
            one.close()
    assert directory.send("GET", "/Users").document["totalResults"] == 1


def test_p03_a_body_without_a_length_is_bounded_too(directory: Directory) -> None:
    limit = directory.app.config["MAX_CONTENT_LENGTH"]
    with _served(directory) as address, socket.create_connection(address, timeout=30) as one:
        one.sendall(_head(directory, "Transfer-Encoding: chunked"))
        piece = b" " * 65_536
        for _ in range(limit // len(piece) + 2):
            one.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        one.sendall(b"0\r\n\r\n")

        answered = one.recv(65536)

    assert answered.startswith(b"HTTP/1.1 413"), answered[-160:]


def test_p03_a_length_that_can_be_read_in_two_ways_makes_nobody(directory: Directory) -> None:
    ambiguous = (
        ("Content-Length: 5", "Transfer-Encoding: chunked"), ("Content-Length: -1",), ("Content-Length: 5", "Content-Length: 6"), ("Transfer-Encoding: gzip",),
    )  # fmt: skip
    smuggled = f"POST {directory.base}/Users HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with _served(directory) as address:
        for headers in ambiguous:
            with socket.create_connection(address, timeout=30) as one:
                one.sendall(_head(directory, *headers) + b"0\r\n\r\n" + smuggled)

                answered = one.recv(65536)

            assert answered.split(b" ", 2)[1] in (b"400", b"401", b"411", b"413", b"501"), (headers, answered[:200])
    assert directory.send("GET", "/Users").document["totalResults"] == 0
