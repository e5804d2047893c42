"""A watch over a chat server: since when each account of a company is closed there, and each phone refused."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager

import requests

from tests.journeys.bursting import House, Leaver
from tests.servers.synapse import Synapse


class Watch:
    """Since when Synapse keeps each account of the company closed, by its own database; and since when the phones there are refused."""

    def __init__(self, synapse: Synapse, tag: str, leavers: list[Leaver]) -> None:
        self.closed: dict[str, float] = {}
        self.refused: dict[str, float] = {}
        self._synapse, self._like = synapse, f"@{tag}-%"
        self._phones = {one.account: one.phone for one in leavers if one.phone}
        self._ended = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        with ThreadPoolExecutor(1) as pool:
            looking = pool.submit(self._look)
            try:
                yield self
            finally:
                self._ended.set()
                looking.result()

    def _look(self) -> None:
        database_url = f"file:{self._synapse.folder / 'homeserver.db'}?mode=ro"
        tried: list[Future[None]] = []
        with closing(sqlite3.connect(database_url, uri=True)) as database, ThreadPoolExecutor(4) as trying:
            while not self._ended.wait(0.01):
                rows = database.execute("SELECT name FROM users WHERE (locked OR deactivated) AND name LIKE ?", (self._like,)).fetchall()
                for (account,) in rows:
                    if account not in self.closed:
                        self.closed[account] = time.monotonic()
                        if account in self._phones:
                            tried.append(trying.submit(self._try, account))
        for one in tried:
            one.result()

    def _try(self, account: str) -> None:
        while lets_in(self._synapse, self._phones[account]):
            pass
        self.refused[account] = time.monotonic()

    def out(self, leaver: Leaver) -> float | None:
        """Since when they are out: by their own phone where they have one."""
        return (self.refused if leaver.phone else self.closed).get(leaver.account)


def lets_in(synapse: Synapse, token: str) -> bool:
    while True:
        answer = requests.get(f"{synapse.url}/_matrix/client/v3/account/whoami", headers={"Authorization": f"Bearer {token}"}, timeout=30)
        if answer.status_code in (200, 401):
            return answer.status_code == 200
        # Of a token that it is deleting at this moment Synapse says neither.
        assert answer.json()["error"] == "No row found (access_tokens)", answer.text


def has_access(house: House, leaver: Leaver) -> tuple[bool, bool]:
    """Whether their phone is let in, and whether Doorlist knows their browser."""
    answer = requests.get(f"{house.doorlist.url}/session", cookies={"doorlist_session": leaver.cookie}, timeout=30)
    assert answer.status_code in (200, 401), answer.text
    return lets_in(house.synapse, leaver.phone), answer.status_code == 200
