"""A real OpenLDAP on free loopback ports: overlays memberof, refint, ppolicy and syncprov, its database in a throwaway folder."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.sources.ldap_library import ldap3
from tests.ports import free_port
from tests.servers.authority import certified
from tests.servers.directories import PERSON_PASSWORD, SYNC_PASSWORD, DirectoryMissing, DirectoryServer, Hired
from tests.servers.processes import ServerProcess

SCHEMAS = Path("/etc/ldap/schema")
ADMIN_PASSWORD = "secret"
CONFIG_DATABASE = "olcDatabase={1}mdb,cn=config"
LOCKED_FOR_GOOD = "000001010000Z"


class OpenLDAP(DirectoryServer):
    """The session log of its provider overlay is in memory, and lost with `restart()`. With `session_log=0` it has none."""

    name = "openldap"
    kind = "openldap"
    base = "dc=example,dc=com"
    admin_dn = "cn=admin,dc=example,dc=com"
    admin_password = ADMIN_PASSWORD
    sync_dn = "cn=sync,ou=services,dc=example,dc=com"
    group_class = "groupOfNames"

    def __init__(self, *, session_log: int = 10_000) -> None:
        super().__init__()
        self.port, self.tls_port = free_port(), free_port()
        self._session_log = session_log

    @property
    def plain_url(self) -> str:
        return f"ldap://{self.host}:{self.port}"

    def load(self, ldif: str) -> None:
        """Into the database of a server that does not run, without its overlays: memberOf is written as it stands."""
        file = self.folder / "load.ldif"
        file.write_text(ldif)
        command = ["slapadd", "-q", "-w", "-b", self.base, "-f", str(self.folder / "slapd.conf"), "-l", str(file)]
        subprocess.run(command, check=True, capture_output=True)

    def rename(self, uid: str, to: str) -> None:
        dn = self.dn_of(uid)
        self._done(lambda admin: admin.modify_dn(dn, f"uid={to}"))

    def disable(self, uid: str) -> None:
        self.change(uid, pwdAccountLockedTime=LOCKED_FOR_GOOD)

    def enable(self, uid: str) -> None:
        self.change(uid, pwdAccountLockedTime=None)

    def lock_out(self, uid: str) -> None:
        """By wrong passwords, as somebody who mistypes would be."""
        dn = self.dn_of(uid)
        for _ in range(6):
            attempt: Any = ldap3.Connection(self._server(), dn, "wrong", read_only=True)
            attempt.bind()
            attempt.unbind()

    @contextmanager
    def hidden(self, *uids: str, units: Sequence[str] = ()) -> Iterator[None]:
        """The account that reads may not see these people meanwhile, nor anything below these units."""
        what = [f'dn.exact="{self.dn_of(uid)}"' for uid in uids] + [f'dn.subtree="{self.unit(unit)}"' for unit in units]
        rules = [f"{{{at}}}to {one} by dn.exact={self.sync_dn} none by * break" for at, one in enumerate(what)]
        with self._configured(CONFIG_DATABASE, "olcAccess", rules, add=True):
            yield

    @contextmanager
    def unreadable_below_base(self) -> Iterator[None]:
        """Only the base itself is shown to the account that reads."""
        rule = f'{{0}}to dn.children="{self.base}" by dn.exact={self.sync_dn} none by * break'
        with self._configured(CONFIG_DATABASE, "olcAccess", [rule], add=True):
            yield

    @contextmanager
    def hidden_attribute(self, name: str) -> Iterator[None]:
        with self._configured(CONFIG_DATABASE, "olcAccess", [f"{{0}}to attrs={name} by dn.exact={self.sync_dn} none by * break"], add=True):
            yield

    @contextmanager
    def limited_to(self, entries: int, *, in_pages: str = "") -> Iterator[None]:
        """No search of the account that reads brings more than this, in however many pages unless `in_pages` says how many they may bring."""
        limit = f"{{0}}dn.exact={self.sync_dn} size={entries} size.pr={entries} size.prtotal={in_pages or entries}"
        with self._configured(CONFIG_DATABASE, "olcLimits", [limit]):
            yield

    @contextmanager
    def _configured(self, dn: str, attribute: str, values: Sequence[str], *, add: bool = False) -> Iterator[None]:
        """In cn=config, which this server keeps in memory."""
        config: Any = ldap3.Connection(self._server(), "cn=config", ADMIN_PASSWORD)
        if not config.bind():
            raise AssertionError(f"{self.name}: {config.result}")
        config.search(dn, "(objectClass=*)", ldap3.BASE, attributes=[attribute])
        before = list(config.response[0]["attributes"][attribute])
        # Values carry their place in front; of two with the same place the new one comes first.
        wanted = [*values, *(_unnumbered(value) for value in before)] if add else list(values)
        try:
            self._configure(config, dn, attribute, wanted)
            try:
                yield
            finally:
                # Also after a test that failed: the next one meets the same server.
                self._configure(config, dn, attribute, before)
        finally:
            config.unbind()

    def _configure(self, config: Any, dn: str, attribute: str, values: Sequence[str]) -> None:
        numbered = [f"{{{at}}}{_unnumbered(value)}" for at, value in enumerate(values)]
        if not config.modify(dn, {attribute: [(ldap3.MODIFY_REPLACE, numbered)]}):
            raise AssertionError(f"{self.name}: {config.result}")

    def _server(self) -> Any:
        return ldap3.Server("127.0.0.1", self.port, get_info=ldap3.NONE)

    def _admin_connection(self) -> Any:
        return ldap3.Connection(self._server(), self.admin_dn, self.admin_password, auto_bind=True)

    def _prepare(self, folder: Path) -> bool:
        if shutil.which("slapd") is None or not SCHEMAS.is_dir():
            raise DirectoryMissing("slapd is not installed here; `make servers` installs it")
        self._certificate = certified(folder / "tls", "localhost", "127.0.0.1", socket.gethostname())
        (folder / "db").mkdir(exist_ok=True)
        certificate, password = self._certificate, ADMIN_PASSWORD
        (folder / "slapd.conf").write_text(
            _CONF.format(
                schemas=SCHEMAS, folder=folder, ca=certificate.authority, certificate=certificate.certificate, key=certificate.key,
                base=self.base, admin=self.admin_dn, password=password, sync=self.sync_dn,
                session_log=f"syncprov-sessionlog {self._session_log}" if self._session_log else "",
            )
        )  # fmt: skip
        return not (folder / "db" / "data.mdb").exists()

    def _launched(self, folder: Path) -> ServerProcess:
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        process = ServerProcess(self.name, ["slapd", "-f", str(folder / "slapd.conf"), "-h", urls, "-d", "0"], folder=folder)
        process.wait_until(lambda: listens(self.port) and listens(self.tls_port))
        return process

    def _furnish(self) -> None:
        self._done(lambda admin: admin.add(self.base, ["dcObject", "organization"], {"dc": "example", "o": "Example"}))
        for unit in ("staff", "branch", "groups", "policies", "services"):
            self.add_unit(unit)
        policy = {"cn": "default", "pwdAttribute": "userPassword", "pwdLockout": "TRUE", "pwdMaxFailure": "5", "pwdLockoutDuration": "300"}
        self._done(lambda admin: admin.add(f"cn=default,{self.unit('policies')}", ["device", "pwdPolicy"], policy))
        account = {"cn": "sync", "userPassword": SYNC_PASSWORD}
        self._done(lambda admin: admin.add(self.sync_dn, ["simpleSecurityObject", "organizationalRole"], account))

    def _as_entry(self, person: Hired, unit: str) -> tuple[str, list[str], dict[str, Any]]:
        attributes = {
            "cn": f"{person.given} {person.family}", "sn": person.family, "givenName": person.given, "mail": person.mail,
            "displayName": f"{person.given} {person.family}", "userPassword": PERSON_PASSWORD, "employeeNumber": person.number,
            "title": person.title, "departmentNumber": person.department, "manager": self.dn_of(person.manager) if person.manager else "",
        }  # fmt: skip
        filled = {name: value for name, value in attributes.items() if value}
        return f"uid={person.uid},{self.unit(unit)}", ["inetOrgPerson", "shadowAccount"], filled

    def _group_attributes(self, name: str, dns: Sequence[str]) -> dict[str, Any]:
        # A groupOfNames without anybody is not allowed: our own account, which is nobody's, stands in.
        return {"cn": name, "member": [*dns, self.sync_dn]}

    def _is_on(self, entry: Any) -> bool:
        admin = self.as_admin()
        admin.search(entry.entry_dn, "(objectClass=*)", ldap3.BASE, attributes=["pwdAccountLockedTime"])
        return LOCKED_FOR_GOOD not in admin.response[0]["attributes"].get("pwdAccountLockedTime", [])


def listens(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((host, port)) == 0


def _unnumbered(value: str | bytes) -> str:
    text = value.decode() if isinstance(value, bytes) else value
    return text.partition("}")[2] if text.startswith("{") else text


_CONF = """\
include {schemas}/core.schema
include {schemas}/cosine.schema
include {schemas}/inetorgperson.schema
include {schemas}/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload refint
moduleload syncprov
moduleload ppolicy
pidfile {folder}/slapd.pid
argsfile {folder}/slapd.args
sizelimit 500
threads 4
TLSCACertificateFile {ca}
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
database config
rootpw {password}
database mdb
suffix {base}
rootdn {admin}
rootpw {password}
directory {folder}/db
maxsize 8589934592
envflags nosync
sortvals member memberOf
index objectClass eq
index uid,mail,cn,employeeNumber eq,sub
index entryUUID,entryCSN,modifyTimestamp eq
index member,memberOf,manager,memberUid,uniqueMember eq
limits dn.exact={sync} size=unlimited size.pr=1000 size.prtotal=unlimited time=unlimited
access to attrs=userPassword by self write by anonymous auth by * none
access to * by dn.exact={sync} read by self read by users read by anonymous auth
overlay memberof
memberof-dangling ignore
memberof-refint TRUE
overlay refint
refint_attributes member memberOf manager
refint_nothing {sync}
overlay ppolicy
ppolicy_default cn=default,ou=policies,{base}
ppolicy_use_lockout
overlay syncprov
syncprov-checkpoint 100 10
{session_log}
"""
