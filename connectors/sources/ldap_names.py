"""What is at which distinguished name. Servers do not agree on which names are one; where they may differ, the server has to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

from connectors.sources.ldap_filters import normal, rough
from connectors.sources.ldap_wire import readable

Whose = TypeVar("Whose")


class Names(Generic[Whose]):
    """Entries by DN, as a listing told them, found by any spelling that is the same name to every server."""

    def __init__(self, found: Mapping[str, Whose] | None = None) -> None:
        # By the bytes of normal names: most members are named by just these.
        self._found: dict[bytes, Whose] = {}
        # Names that two entries have here, and that this server tells apart.
        self._shared: set[bytes] = set()
        self._rough: set[str] | None = None
        for dn, whose in (found or {}).items():
            self.write(dn, whose)

    def write(self, dn: str, whose: Whose) -> None:
        name = normal(dn).encode()
        self._rough = None
        if name not in self._shared and self._found.setdefault(name, whose) != whose:
            del self._found[name]
            self._shared.add(name)

    def get(self, dn: str) -> Whose | None:
        """What is surely there, without asking anybody."""
        return self._found.get(dn.encode().lower()) or self._found.get(normal(dn).encode())

    def at(self, value: bytes) -> Whose | None:
        """`get`, for a DN as it came over the wire."""
        return self._found.get(value.lower()) or self.get(readable(value))

    def may_hold(self, dn: str) -> bool:
        """Whether a DN that `get` does not know may be one of these all the same, to this server."""
        if self._rough is None:
            # Plain names are not kept twice: roughly they are as they are.
            every = (name for names in (self._found, self._shared) for name in names if not name.isascii() or b"\\" in name)
            self._rough = {rough(name.decode()) for name in every}
        name = rough(dn)
        return name in self._rough or name.encode() in self._found or name.encode() in self._shared
