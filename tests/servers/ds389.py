"""A real 389 Directory Server on loopback ports, with its plugins MemberOf, Referential Integrity and Retro Changelog; needs root.

Its configuration has to lie in /etc/dirsrv; `dispose()` takes the whole instance away again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from connectors.sources.ldap_library import ldap3
from tests.ports import free_port
from tests.servers.authority import ServerCertificate
from tests.servers.directories import PERSON_PASSWORD, SYNC_PASSWORD, DirectoryMissing, DirectoryServer, Hired
from tests.servers.openldap import listens
from tests.servers.processes import ServerBroken, ServerProcess

ADMIN_PASSWORD = "directory manager"
BASE = "dc=example,dc=com"


class DS389(DirectoryServer):
    """Nobody but `dispose()` removes its folders under /etc/dirsrv and /var/lib/dirsrv: call it when done."""

    name = "389ds"
    kind = "389ds"
    base = BASE
    admin_dn = "cn=Directory Manager"
    admin_password = ADMIN_PASSWORD
    sync_dn = f"cn=sync,ou=services,{BASE}"
    group_class = "groupOfNames"

    def __init__(self) -> None:
        super().__init__()
        self.port, self.tls_port = free_port(), free_port()
        self.instance = f"doorlist-{self.port}"

    @property
    def plain_url(self) -> str:
        return f"ldap://{self.host}:{self.port}"

    def dispose(self) -> None:
        """May be called twice."""
        self.stop()
        if self._configured.is_dir():
            subprocess.run(["dsctl", self.instance, "remove", "--do-it"], capture_output=True, check=False, timeout=120)

    def rename(self, uid: str, to: str) -> None:
        dn = self.dn_of(uid)
        self._done(lambda admin: admin.modify_dn(dn, f"uid={to}"))

    def disable(self, uid: str) -> None:
        self.change(uid, nsAccountLock="true")

    def enable(self, uid: str) -> None:
        self.change(uid, nsAccountLock=None)

    def trim_changelog(self) -> None:
        """Every record goes, as it does by itself after the age that an administrator set."""
        admin = self.as_admin()
        admin.search("cn=changelog", "(objectClass=changeLogEntry)", attributes=["changeNumber"])
        for entry in list(admin.entries):
            self._done(lambda connection, dn=entry.entry_dn: connection.delete(dn))

    @property
    def _configured(self) -> Path:
        return Path("/etc/dirsrv") / f"slapd-{self.instance}"

    def _admin_connection(self) -> Any:
        server = ldap3.Server("127.0.0.1", self.port, get_info=ldap3.NONE)
        return ldap3.Connection(server, self.admin_dn, self.admin_password, auto_bind=True)

    def _prepare(self, folder: Path) -> bool:
        if shutil.which("dscreate") is None or shutil.which("ns-slapd") is None or shutil.which("unshare") is None:
            raise DirectoryMissing("389 Directory Server is not installed here; `make servers` installs it")
        if os.geteuid() != 0:
            raise DirectoryMissing("389 Directory Server can only be set up by root")
        # Their packages count on systemd to make these.
        for made in ("/run/dirsrv", "/run/lock/dirsrv"):
            Path(made).mkdir(parents=True, exist_ok=True)
        own = self._configured
        self._certificate = ServerCertificate(authority=own / "ca.crt", certificate=own / "cert9.db", key=own / "key4.db")
        if own.is_dir():
            return False
        wanted = folder / "instance.inf"
        wanted.write_text(_INSTANCE.format(instance=self.instance, port=self.port, tls=self.tls_port, password=ADMIN_PASSWORD, base=BASE))
        # Set up in a network of its own: until it is told otherwise it listens on every address of the machine.
        command = ["unshare", "-n", "sh", "-c", f"ip link set lo up 2>/dev/null; exec dscreate from-file {wanted}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            raise ServerBroken(f"{self.name}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        file = own / "dse.ldif"
        text = file.read_text().replace("dn: cn=config\n", f"dn: cn=config\n{_LISTENS}", 1)
        for plugin in ("MemberOf Plugin", "referential integrity postoperation", "Retro Changelog Plugin"):
            text = _switched_on(text, f"cn={plugin},cn=plugins,cn=config")
        text = text.replace(
            "dn: cn=Retro Changelog Plugin,cn=plugins,cn=config\n",
            "dn: cn=Retro Changelog Plugin,cn=plugins,cn=config\nnsslapd-attribute: nsuniqueid:targetUniqueId\n",
            1,
        )
        file.write_text(text)
        return True

    def _launched(self, folder: Path) -> ServerProcess:
        # In the foreground; the level is that of messages that are always written.
        command = ["ns-slapd", "-D", str(self._configured), "-i", str(folder / "slapd.pid"), "-d", "16384"]
        process = ServerProcess(self.name, command, folder=folder)
        process.wait_until(lambda: listens(self.port) and listens(self.tls_port))
        return process

    def _furnish(self) -> None:
        for unit in ("staff", "branch", "groups", "services"):
            self.add_unit(unit)
        account = {"cn": "sync", "sn": "sync", "userPassword": SYNC_PASSWORD}
        self._done(lambda admin: admin.add(self.sync_dn, ["person"], account))
        may = f'(targetattr="*")(version 3.0; acl "sync reads"; allow (read,search,compare) userdn="ldap:///{self.sync_dn}";)'
        for dn in (self.base, "cn=changelog"):
            self._done(lambda admin, dn=dn: admin.modify(dn, {"aci": [(ldap3.MODIFY_ADD, [may])]}))

    def _as_entry(self, person: Hired, unit: str) -> tuple[str, list[str], dict[str, Any]]:
        attributes = {
            "cn": f"{person.given} {person.family}", "sn": person.family, "givenName": person.given, "mail": person.mail,
            "displayName": f"{person.given} {person.family}", "userPassword": PERSON_PASSWORD, "employeeNumber": person.number,
            "title": person.title, "departmentNumber": person.department, "manager": self.dn_of(person.manager) if person.manager else "",
        }  # fmt: skip
        filled = {name: value for name, value in attributes.items() if value}
        return f"uid={person.uid},{self.unit(unit)}", ["inetOrgPerson", "nsMemberOf"], filled

    def _is_on(self, entry: Any) -> bool:
        admin = self.as_admin()
        admin.search(entry.entry_dn, "(objectClass=*)", ldap3.BASE, attributes=["nsAccountLock"])
        return "true" not in [str(value).lower() for value in admin.response[0]["attributes"].get("nsAccountLock", [])]

    def _group_attributes(self, name: str, dns: Sequence[str]) -> dict[str, Any]:
        return {"cn": name, **({"member": list(dns)} if dns else {})}


def _switched_on(text: str, dn: str) -> str:
    before, found, after = text.partition(f"dn: {dn}\n")
    if not found:
        raise ServerBroken(f"there is no plugin {dn}")
    entry, end, rest = after.partition("\n\n")
    return before + found + entry.replace("nsslapd-pluginEnabled: off", "nsslapd-pluginEnabled: on") + end + rest


_LISTENS = "nsslapd-listenhost: 127.0.0.1\nnsslapd-securelistenhost: 127.0.0.1\n"
_INSTANCE = """\
[general]
config_version = 2
full_machine_name = localhost
start = False
strict_host_checking = False
systemd = False

[slapd]
instance_name = {instance}
port = {port}
secure_port = {tls}
root_password = {password}
self_sign_cert = True

[backend-userroot]
suffix = {base}
create_suffix_entry = True
"""
