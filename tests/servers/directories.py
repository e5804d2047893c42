"""What the LDAP servers of tests have in common: people are hired, renamed, moved and let go in them, whatever the server is.

`holds()` is the directory's own answer, read as an administrator and without any of our code: what a listing has to equal.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.contract import Secret
from connectors.source_contract import SourceSettings
from connectors.sources.ldap_library import LDAPException, ldap3
from tests.servers.authority import ServerCertificate
from tests.servers.processes import ServerProcess

SYNC_PASSWORD = "Sync-Passw0rd!"
PERSON_PASSWORD = "Passw0rd!"


class DirectoryMissing(Exception):
    """It is not installed here; `make servers` installs it."""


@dataclass(frozen=True, kw_only=True)
class Hired:
    uid: str
    given: str
    family: str
    number: str = ""
    title: str = ""
    department: str = ""
    manager: str = ""
    """The manager's uid."""

    @property
    def mail(self) -> str:
        return f"{self.uid}@corp.example"


@dataclass(frozen=True, kw_only=True)
class Held:
    """Who is there, by uid, and may come in or not; and which groups hold whom, through groups within them too."""

    people: Mapping[str, bool]
    groups: Mapping[str, frozenset[str]]


def in_a_dn(name: str) -> str:
    """A name as a distinguished name has it (RFC 4514 §2.4)."""
    return re.sub(r'''[\\,+;"<>=]|^[ #]| $''', lambda found: f"\\{found[0]}", name)


class DirectoryServer(ABC):
    """One server, started by `start(folder)`, which may be called again after `stop()`. Units are `staff` and `branch`."""

    name: str
    kind: str
    base: str
    host = "localhost"
    admin_dn: str
    admin_password: str
    sync_dn: str
    group_class: str
    reserved_groups: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._process: ServerProcess | None = None
        self._admin: Any = None
        self._certificate: ServerCertificate | None = None
        self.tls_port = 636

    # Running

    @property
    def folder(self) -> Path:
        if self._folder is None:
            raise RuntimeError(f"{self.name} was not started yet")
        return self._folder

    @property
    def ca_file(self) -> Path:
        if self._certificate is None:
            raise RuntimeError(f"{self.name} was not started yet")
        return self._certificate.authority

    @property
    def url(self) -> str:
        return f"ldaps://{self.host}:{self.tls_port}"

    def start(self, folder: Path) -> None:
        """Returns when it answers, with its units and its account for us. Raises DirectoryMissing."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        fresh = self._prepare(folder)
        self._process = self._launched(folder)
        if fresh:
            self._furnish()

    def stop(self) -> None:
        """May be called twice."""
        self._forget_admin()
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def restart(self) -> None:
        self.stop()
        self.start(self.folder)

    @contextmanager
    def down(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.start(self.folder)

    def settings(self, name: str = "corp", *, password: str = SYNC_PASSWORD, url: str = "", **options: str) -> SourceSettings:
        """For a source that reads this directory as the account that may only read. An option of "" is left out."""
        given = {"kind": self.kind, "base": self.base, "bind_dn": self.sync_dn, "ca_file": str(self.ca_file), **options}
        chosen = {key: value for key, value in given.items() if value}
        return SourceSettings(name=name, url=url or self.url, secret=Secret(password), options=chosen)

    # What happens to people and groups

    def unit(self, name: str) -> str:
        return f"ou={name},{self.base}"

    def dn_of(self, uid: str) -> str:
        return self._one(self._person_filter(uid)).entry_dn  # type: ignore[no-any-return]  # ldap3 has no types

    def group_dn(self, name: str) -> str:
        return f"cn={in_a_dn(name)},{self.unit('groups')}"

    def add_unit(self, name: str) -> None:
        self._done(lambda admin: admin.add(self.unit(name), ["organizationalUnit"]))

    def rename_unit(self, name: str, to: str) -> None:
        self._done(lambda admin: admin.modify_dn(self.unit(name), f"ou={to}"))

    def hire(self, *people: Hired, unit: str = "staff") -> None:
        for person in people:
            dn, classes, attributes = self._as_entry(person, unit)
            self._done(lambda admin, new=(dn, classes, attributes): admin.add(*new))

    def change(self, uid: str, **attributes: str | Sequence[str] | Sequence[bytes] | None) -> None:
        """None takes an attribute away."""
        changes = {
            name: [(ldap3.MODIFY_REPLACE, [] if value is None else [value] if isinstance(value, str) else list(value))]
            for name, value in attributes.items()
        }
        dn = self.dn_of(uid)
        self._done(lambda admin: admin.modify(dn, changes))

    def set_manager(self, uid: str, manager: str) -> None:
        self.change(uid, manager=self.dn_of(manager))

    @abstractmethod
    def rename(self, uid: str, to: str) -> None: ...

    def move(self, uid: str, *, unit: str) -> None:
        dn = self.dn_of(uid)
        self._done(lambda admin: admin.modify_dn(dn, dn.partition(",")[0], new_superior=self.unit(unit)))

    @abstractmethod
    def disable(self, uid: str) -> None: ...

    @abstractmethod
    def enable(self, uid: str) -> None: ...

    def let_go(self, uid: str) -> None:
        """The entry is deleted."""
        dn = self.dn_of(uid)
        self._done(lambda admin: admin.delete(dn))

    def add_group(self, name: str, *members: str, groups: Sequence[str] = ()) -> None:
        dns = [*(self.dn_of(uid) for uid in members), *(self.group_dn(group) for group in groups)]
        self._done(lambda admin: admin.add(self.group_dn(name), [self.group_class], self._group_attributes(name, dns)))

    def rename_group(self, name: str, to: str) -> None:
        self._done(lambda admin: admin.modify_dn(self.group_dn(name), f"cn={in_a_dn(to)}"))

    def delete_group(self, name: str) -> None:
        self._done(lambda admin: admin.delete(self.group_dn(name)))

    def join(self, group: str, *uids: str, groups: Sequence[str] = ()) -> None:
        self._regroup(group, ldap3.MODIFY_ADD, [*(self.dn_of(uid) for uid in uids), *(self.group_dn(name) for name in groups)])

    def part(self, group: str, *uids: str, groups: Sequence[str] = ()) -> None:
        self._regroup(group, ldap3.MODIFY_DELETE, [*(self.dn_of(uid) for uid in uids), *(self.group_dn(name) for name in groups)])

    def empty(self) -> None:
        """Everybody and every group that was added is deleted, and so are units beyond the first ones."""
        for dn in [*self._dns("(objectClass=inetOrgPerson)"), *self._dns(f"(objectClass={self.group_class})")]:
            if dn.lower() != self.sync_dn.lower() and not self._reserved(dn):
                self._done(lambda admin, dn=dn: admin.delete(dn))

    # What is there

    def holds(self) -> Held:
        people = {str(entry.entry_dn).lower(): entry for entry in self._found(self._everybody(), ldap3.ALL_ATTRIBUTES)}
        groups = {
            str(entry.entry_dn).lower(): entry
            for entry in self._found(f"(objectClass={self.group_class})", ldap3.ALL_ATTRIBUTES)
            if not self._reserved(entry.entry_dn)
        }
        uids = {dn: self._uid(entry) for dn, entry in people.items()}

        def within(dn: str, path: frozenset[str]) -> set[str]:
            found: set[str] = set()
            for member in groups[dn].entry_attributes_as_dict.get("member", []):
                name = str(member).lower()
                if name in uids:
                    found.add(uids[name])
                elif name in groups and name not in path:
                    found |= within(name, path | {name})
            return found

        return Held(
            people={uids[dn]: self._is_on(entry) for dn, entry in people.items()},
            groups={str(entry.cn): frozenset(within(dn, frozenset({dn}))) for dn, entry in groups.items()},
        )

    # What each server does in its own way

    @abstractmethod
    def _prepare(self, folder: Path) -> bool:
        """True where it is empty yet. Raises DirectoryMissing."""

    @abstractmethod
    def _launched(self, folder: Path) -> ServerProcess: ...

    @abstractmethod
    def _furnish(self) -> None: ...

    @abstractmethod
    def _as_entry(self, person: Hired, unit: str) -> tuple[str, list[str], dict[str, Any]]: ...

    def _group_attributes(self, name: str, dns: Sequence[str]) -> dict[str, Any]:
        return {"cn": name, **({"member": list(dns)} if dns else {})}

    def _everybody(self) -> str:
        return "(objectClass=inetOrgPerson)"

    def _person_filter(self, uid: str) -> str:
        return f"(&{self._everybody()}(uid={uid}))"

    def _uid(self, entry: Any) -> str:
        return str(entry.uid)

    @abstractmethod
    def _is_on(self, entry: Any) -> bool: ...

    def _reserved(self, dn: str) -> bool:
        return False

    @abstractmethod
    def _admin_connection(self) -> Any: ...

    # How

    def _regroup(self, group: str, how: str, dns: Sequence[str]) -> None:
        self._done(lambda admin: admin.modify(self.group_dn(group), {"member": [(how, list(dns))]}))

    def as_admin(self) -> Any:
        """A connection of ldap3 that may do everything; kept open."""
        if self._admin is None or self._admin.closed:
            self._admin = self._admin_connection()
        return self._admin

    def _forget_admin(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            with suppress(LDAPException, OSError):
                admin.unbind()

    def _done(self, act: Any) -> None:
        admin = self.as_admin()
        act(admin)
        if admin.result["result"] != 0:
            raise AssertionError(f"{self.name}: {admin.result}")

    def _found(self, filter: str, attributes: Any) -> list[Any]:
        admin = self.as_admin()
        admin.search(self.base, filter, attributes=attributes)
        if admin.result["result"] != 0:
            raise AssertionError(f"{self.name}: {admin.result}")
        return list(admin.entries)

    def _one(self, filter: str) -> Any:
        found = self._found(filter, ["objectClass"])
        if len(found) != 1:
            raise AssertionError(f"{self.name}: {len(found)} entries for {filter}")
        return found[0]

    def _dns(self, filter: str) -> list[str]:
        return [str(entry.entry_dn) for entry in self._found(filter, ["objectClass"])]
