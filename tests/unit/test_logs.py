"""What is logged is one JSON object a line, wherever stderr leads."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, TextIOWrapper

import pytest

from app import logs

NAME = "Zoë 営業 \U0001f600 \udce9"


@contextmanager
def nobody_else_logging() -> Iterator[None]:
    """Whoever else logs goes on as before: pytest, which keeps each line, could not hand one with half a letter from process to process."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    root.handlers[:] = []
    try:
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(level)


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1", "ascii"])
def test_a_line_is_json_whatever_letters_the_place_it_goes_to_has(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = BytesIO()
    monkeypatch.setattr(sys, "stderr", TextIOWrapper(seen, encoding=encoding, errors="backslashreplace", write_through=True))

    with nobody_else_logging():
        logs.configure()
        logging.getLogger("door").warning("%s was refused", NAME)

    [line] = seen.getvalue().decode("utf-8").splitlines()
    assert json.loads(line)["message"] == f"{NAME} was refused"
    assert ("営業" in line) is (encoding == "utf-8")
