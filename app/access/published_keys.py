"""The keys that others publish, kept in this process for some minutes and asked for again where a message needs a newer set.

A provider may change its keys overnight: a message that names a key we do not know has the set fetched again, but not
more often than once in `ASKED_AGAIN_AFTER`, so that made-up names cause no storm. A key that is no longer published is
forgotten after `FRESH_FOR`. While the place does not answer, what is known stays good until `GOOD_FOR` is over.
"""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from app.access.signed_tokens import (
    BadSignature,
    KeySet,
    NoSuchKey,
    SignedToken,
    Unproved,
    UnusableKeySet,
    key_set_of,
    prove,
    unproved,
)
from connectors.contract import ConnectorError, Misconfigured, Unreachable
from connectors.visits import Visitor

FRESH_FOR: Final = 300.0
GOOD_FOR: Final = 3600.0
ASKED_AGAIN_AFTER: Final = 30.0
SILENT_FOR: Final = 3.0
"""How long a place that did not answer is left alone by those who have no keys: else each of them waits for it in turn."""
LARGEST_SET: Final = 512 * 1024
MOST_PLACES: Final = 1000


class ReadBefore(Unreachable):
    """Its key may be newer than the set, which was read before the message came and may not be read again yet: it has to come once more."""


@dataclass(kw_only=True)
class _Kept:
    keys: KeySet | None = None
    fetched: float = 0.0
    tried: float = float("-inf")
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(kw_only=True)
class PublishedKeys:
    """Key sets by URL. One is enough for a process; threads share it."""

    clock: Callable[[], float] = time.monotonic
    _kept: dict[tuple[str, bool], _Kept] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def verify(self, token: str, url: str, *, algorithms: Collection[str], allow_private: bool = False) -> SignedToken:
        """Check a message against the keys published at `url`. Raises BadToken and its kinds, ConnectorError."""
        return self.prove(unproved(token), url, algorithms=algorithms, allow_private=allow_private)

    def prove(
        self, shown: Unproved, url: str, *, algorithms: Collection[str], allow_private: bool = False, came: float | None = None
    ) -> SignedToken:
        """The same of a message that was taken apart already.

        `came` is when it came, by `clock`, for whoever can have it sent again: only a set that was read since then says for good
        that there is no such key, else ReadBefore is raised.
        """
        kept = self._place(url, allow_private)
        keys = self._keys(kept, url, allow_private)
        try:
            return prove(shown, keys, algorithms=algorithms)
        except (NoSuchKey, BadSignature) as error:
            # The set may have changed since, also under an old name.
            newer = self._newer(kept, url, allow_private, than=keys)
            if newer is None:
                # A message that names no key and fits none may mean a new one as well.
                may_be_new = isinstance(error, NoSuchKey) or shown.header.get("kid") is None
                if came is not None and kept.fetched < came and may_be_new:
                    raise ReadBefore("published keys: no such key was there when they were read a moment ago", sent=False) from error
                raise
        return prove(shown, newer, algorithms=algorithms)

    def _place(self, url: str, allow_private: bool) -> _Kept:
        with self._lock:
            found = self._kept.pop((url, allow_private), None) or _Kept()
            self._kept[(url, allow_private)] = found
            if len(self._kept) > MOST_PLACES:
                del self._kept[next(iter(self._kept))]
            return found

    def _keys(self, kept: _Kept, url: str, allow_private: bool) -> KeySet:
        with kept.lock:
            age = self.clock() - kept.fetched
            if kept.keys is not None and (age < FRESH_FOR or (age < GOOD_FOR and not self._may_try(kept))):
                return kept.keys
            if kept.keys is None and self.clock() - kept.tried < SILENT_FOR:
                raise Unreachable("published keys: the place did not answer a moment ago", sent=False)
            try:
                return self._fetched(kept, url, allow_private)
            except ConnectorError:
                if kept.keys is None or age >= GOOD_FOR:
                    raise
                return kept.keys

    def _newer(self, kept: _Kept, url: str, allow_private: bool, *, than: KeySet) -> KeySet | None:
        with kept.lock:
            if kept.keys is not than:
                # Another thread fetched it meanwhile.
                return kept.keys
            return self._fetched(kept, url, allow_private) if self._may_try(kept) else None

    def _may_try(self, kept: _Kept) -> bool:
        return self.clock() - kept.tried >= ASKED_AGAIN_AFTER

    def _fetched(self, kept: _Kept, url: str, allow_private: bool) -> KeySet:
        kept.tried = self.clock()
        reply = Visitor(name="published keys", allow_private=allow_private, largest=LARGEST_SET).get(url)
        if reply.status != 200:
            raise Misconfigured(f"{reply.source}: answered {reply.status} where keys should be")
        try:
            kept.keys = key_set_of(reply.content)
        except UnusableKeySet as error:
            raise Misconfigured(f"{reply.source}: {error}") from error
        # What was published while the answer was on its way need not be in it.
        kept.fetched = kept.tried
        return kept.keys


KEYS: Final = PublishedKeys()
"""The key sets of all who sign for us to read, for this process."""
