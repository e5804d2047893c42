"""Entries that wait for what comes later in a listing, on disk: the order in which a directory has its people does not decide over our memory."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Final, Self

from connectors.sources.ldap_wire import Entry

IN_MEMORY: Final = 1_000_000
"""Bytes. A few entries need no file."""


class Waiting:
    """Entries in their order. They are gone with the `with`, and with the process: the file has no name."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  # closed by __exit__
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def add(self, entry: Entry) -> None:
        """Without the controls that came with it."""
        # Nobody else can write to that file, so whatever is read from it is what stands here.
        pickle.dump((entry.dn, dict(entry.values)), self._file)
        self._number += 1

    def entries(self) -> Iterator[Entry]:
        """All of them, once; nothing is added any more."""
        self._file.seek(0)
        for _ in range(self._number):
            yield Entry(*pickle.load(self._file))
