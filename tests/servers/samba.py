"""A real Samba Active Directory domain controller that serves LDAP alone, on a loopback address of its own; needs root.

Provisioned once for a run (some seconds); its ports are fixed, so the address is what tells servers apart.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from connectors.sources.ldap_library import LDAPException, ldap3
from tests.servers.authority import certified
from tests.servers.directories import PERSON_PASSWORD, SYNC_PASSWORD, DirectoryMissing, DirectoryServer, Hired
from tests.servers.openldap import listens
from tests.servers.processes import ServerBroken, ServerProcess

ADMIN_PASSWORD = "Passw0rd!Admin"
REALM = "ad.example.com"
NORMAL, DISABLED = 0x200, 0x2


class Samba(DirectoryServer):
    """People's sAMAccountName is their uid, their userPrincipalName that with the realm behind it."""

    name = "samba"
    kind = "ad"
    base = "OU=corp,DC=ad,DC=example,DC=com"
    domain = "DC=ad,DC=example,DC=com"
    admin_dn = f"administrator@{REALM}"
    admin_password = ADMIN_PASSWORD
    sync_dn = f"sync@{REALM}"
    group_class = "group"

    def __init__(self, *, address: str | None = None) -> None:
        super().__init__()
        self.host = address or free_address()
        self.tls_port = 636

    def rename(self, uid: str, to: str) -> None:
        """The name of the account and of the entry."""
        dn = self.dn_of(uid)
        self.change(uid, sAMAccountName=to, userPrincipalName=f"{to}@{REALM}")
        self._done(lambda admin: admin.modify_dn(dn, f"CN={to}"))

    def disable(self, uid: str) -> None:
        self.change(uid, userAccountControl=str(NORMAL | DISABLED))

    def enable(self, uid: str) -> None:
        self.change(uid, userAccountControl=str(NORMAL))

    def set_primary_group(self, uid: str, group: str) -> None:
        """Who is in the group already makes it the primary one; the server then takes them off its list."""
        sid = self._raw(self.group_dn(group), "objectSid")
        self.change(uid, primaryGroupID=str(int.from_bytes(sid[-4:], "little")))

    def show_deleted(self, shown: bool = True) -> None:
        """Lets the account that reads see deleted objects, as an administrator would with dsacls; here by making it one of theirs."""
        how = ldap3.MODIFY_ADD if shown else ldap3.MODIFY_DELETE
        group, account = f"CN=Administrators,CN=Builtin,{self.domain}", f"CN=sync,CN=Users,{self.domain}"
        self._done(lambda admin: admin.modify(group, {"member": [(how, [account])]}))

    def allow_replication(self) -> None:
        """What DirSync without object security asks for."""
        tool = ["samba-tool", "dsacl", "set", f"--objectdn={self.domain}", f"--trusteedn=CN=sync,CN=Users,{self.domain}", "--action=allow"]
        for right in ("get-changes", "get-changes-all"):
            self._run([*tool, f"--car={right}"])

    def _everybody(self) -> str:
        return "(&(objectCategory=person)(objectClass=user))"

    def _person_filter(self, uid: str) -> str:
        return f"(&{self._everybody()}(sAMAccountName={uid}))"

    def _uid(self, entry: Any) -> str:
        return str(entry.sAMAccountName)

    def _is_on(self, entry: Any) -> bool:
        return not int(str(entry.userAccountControl)) & DISABLED

    def _raw(self, dn: str, attribute: str) -> bytes:
        admin = self.as_admin()
        admin.search(dn, "(objectClass=*)", ldap3.BASE, attributes=[attribute])
        value: bytes = admin.response[0]["raw_attributes"][attribute][0]
        return value

    def _group_attributes(self, name: str, dns: Sequence[str]) -> dict[str, Any]:
        return {**super()._group_attributes(name, dns), "sAMAccountName": name}

    def _as_entry(self, person: Hired, unit: str) -> tuple[str, list[str], dict[str, Any]]:
        attributes = {
            "sAMAccountName": person.uid, "userPrincipalName": f"{person.uid}@{REALM}", "sn": person.family, "givenName": person.given,
            "displayName": f"{person.given} {person.family}", "mail": person.mail, "employeeID": person.number, "title": person.title,
            "department": person.department, "manager": self.dn_of(person.manager) if person.manager else "",
            "userAccountControl": str(NORMAL | 0x20), "unicodePwd": f'"{PERSON_PASSWORD}"'.encode("utf-16-le"),
        }  # fmt: skip
        filled = {name: value for name, value in attributes.items() if value}
        return f"CN={person.uid},{self.unit(unit)}", ["user"], filled

    def empty(self) -> None:
        for dn in [*self._dns(self._everybody()), *self._dns("(objectClass=group)")]:
            self._done(lambda admin, dn=dn: admin.delete(dn))

    def _admin_connection(self) -> Any:
        # Passwords are only set over an encrypted connection.
        tls = ldap3.Tls()
        server = ldap3.Server(self.host, 636, use_ssl=True, tls=tls, get_info=ldap3.NONE)
        return ldap3.Connection(server, self.admin_dn, self.admin_password, auto_bind=True)

    def _prepare(self, folder: Path) -> bool:
        if shutil.which("samba") is None or shutil.which("samba-tool") is None:
            raise DirectoryMissing("Samba is not installed here; `make servers` installs it")
        if os.geteuid() != 0:
            raise DirectoryMissing("a domain controller can only be started by root")
        self._certificate = certified(folder / "tls", "localhost", self.host, f"dc1.{REALM}")
        if (folder / "etc" / "smb.conf").exists():
            return False
        (folder / "run" / "lock").mkdir(parents=True, exist_ok=True)
        self._run(
            [
                "samba-tool", "domain", "provision", f"--targetdir={folder}", f"--realm={REALM.upper()}", "--domain=EXAMPLE",
                "--server-role=dc", "--dns-backend=NONE", f"--adminpass={ADMIN_PASSWORD}", "--host-name=dc1", f"--host-ip={self.host}",
            ],
            configured=False,
        )  # fmt: skip
        # The command does not keep all of what it is told.
        certificate = self._certificate
        (folder / "etc" / "smb.conf").write_text(
            _CONF.format(
                folder=folder, address=self.host, realm=REALM.upper(), ca=certificate.authority, certificate=certificate.certificate,
                key=certificate.key,
            )
        )  # fmt: skip
        self._run(["samba-tool", "domain", "passwordsettings", "set", "--complexity=off", "--min-pwd-age=0", "--history-length=0"])
        return True

    def _launched(self, folder: Path) -> ServerProcess:
        command = ["samba", "-F", "-M", "single", "--no-process-group", "-s", str(folder / "etc" / "smb.conf")]
        process = ServerProcess(self.name, command, folder=folder)
        process.wait_until(lambda: listens(636, self.host) and self._answers())
        return process

    def _answers(self) -> bool:
        try:
            self._admin_connection().unbind()
        except LDAPException:
            return False
        return True

    def _furnish(self) -> None:
        self._done(lambda admin: admin.add(self.base, ["organizationalUnit"]))
        for unit in ("staff", "branch", "groups"):
            self.add_unit(unit)
        account = {
            "sAMAccountName": "sync", "userPrincipalName": self.sync_dn, "userAccountControl": str(NORMAL | 0x10000),
            "unicodePwd": f'"{SYNC_PASSWORD}"'.encode("utf-16-le"),
        }  # fmt: skip
        self._done(lambda admin: admin.add(f"CN=sync,CN=Users,{self.domain}", ["user"], account))

    def _run(self, command: list[str], *, configured: bool = True) -> None:
        more = ["-s", str(self.folder / "etc" / "smb.conf"), "-H", str(self.folder / "private" / "sam.ldb")] if configured else []
        done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerBroken(f"{' '.join(command[:3])}: {done.stdout[-1000:]}{done.stderr[-1000:]}")


def free_address() -> str:
    """Of this machine, on which nobody serves LDAP yet: all of 127.0.0.0/8 is."""
    while True:
        address = f"127.77.{secrets.randbelow(250) + 1}.{secrets.randbelow(250) + 1}"
        if not listens(636, address) and not listens(389, address):
            return address


_CONF = """\
[global]
 workgroup = EXAMPLE
 realm = {realm}
 netbios name = DC1
 server role = active directory domain controller
 server services = ldap
 interfaces = {address}/8
 bind interfaces only = yes
 ldap server require strong auth = no
 private dir = {folder}/private
 state directory = {folder}/state
 cache directory = {folder}/cache
 lock directory = {folder}/run/lock
 pid directory = {folder}/run
 ncalrpc dir = {folder}/run/ncalrpc
 winbindd socket directory = {folder}/run/winbindd
 ntp signd socket directory = {folder}/run/ntp_signd
 log file = {folder}/run/log.%m
 tls cafile = {ca}
 tls certfile = {certificate}
 tls keyfile = {key}
"""
