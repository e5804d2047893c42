"""What the two SAML identity providers that read a settings file have in common: the file, the process, the keys."""

from __future__ import annotations

import textwrap
from abc import abstractmethod
from pathlib import Path
from urllib.parse import urlencode

import requests
from lxml import etree

from tests.servers.identities import PASSWORD, SAMLManners, described, write_settings
from tests.servers.identity_server import IdentityServer
from tests.servers.idp_keys import Certified, certify
from tests.servers.processes import ServerProcess, answers

METADATA = {"md": "urn:oasis:names:tc:SAML:2.0:metadata", "ds": "http://www.w3.org/2000/09/xmldsig#"}


def parsed(metadata: str) -> etree._Element:
    return etree.fromstring(metadata.encode(), etree.XMLParser(resolve_entities=False, no_network=True))


def entity_id_in(metadata: str) -> str:
    return str(parsed(metadata).get("entityID"))


def service_provider_in(metadata: str) -> dict[str, str]:
    """Its addresses and certificates, for a server that does not read metadata itself."""
    sp = parsed(metadata).find("md:SPSSODescriptor", METADATA)
    if sp is None:
        raise ValueError("these are not the metadata of a service provider")
    consumer, logout = sp.find("md:AssertionConsumerService", METADATA), sp.find("md:SingleLogoutService", METADATA)
    certificates = {
        use: pem
        for key in sp.findall("md:KeyDescriptor", METADATA)
        for use in ([key.get("use")] if key.get("use") else ["signing", "encryption"])
        if (pem := _pem(key.findtext("ds:KeyInfo/ds:X509Data/ds:X509Certificate", "", METADATA)))
    }
    return {
        "acs": str(consumer.get("Location")) if consumer is not None else "",
        "slo": str(logout.get("Location")) if logout is not None else "",
        "certificate": certificates.get("signing", ""),
        "encryption_certificate": certificates.get("encryption", ""),
    }


def _pem(bare: str) -> str:
    lines = textwrap.wrap("".join(bare.split()), 64)
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


class SAMLServer(IdentityServer[SAMLManners]):
    """Reads its settings anew for every request, so that whatever it is told counts at once."""

    def __init__(self, *, port: int | None = None) -> None:
        super().__init__(SAMLManners(), port=port)
        self._trusted: dict[str, str] = {}
        self._keys: list[Certified] = []

    @property
    @abstractmethod
    def entity_id(self) -> str: ...

    @property
    def metadata_url(self) -> str:
        return f"{self.url}/metadata"

    @property
    def key(self) -> Certified:
        """The one that it signs with now."""
        return self._keys[0]

    def metadata(self) -> str:
        answer = requests.get(self.metadata_url, timeout=10)
        answer.raise_for_status()
        return answer.text

    def trust(self, metadata: str) -> None:
        self._trusted[entity_id_in(metadata)] = metadata
        self._tell()

    def roll_keys(self, *, keep_old: bool) -> None:
        fresh = certify(self.folder, f"key-{len(list(self.folder.glob('key-*.pem'))) + 1}")
        self._keys = [fresh, *(self._keys[:1] if keep_old else [])]
        self._tell()

    def start_url(self, sp_entity_id: str, relay_state: str = "") -> str:
        return f"{self.url}/start?{urlencode({'sp': sp_entity_id, 'relay_state': relay_state})}"

    def logout_url(self, sp_entity_id: str) -> str:
        return f"{self.url}/logout?{urlencode({'sp': sp_entity_id})}"

    def _prepare(self, folder: Path) -> None:
        self._keys = self._keys or [certify(folder, "key-1")]
        write_settings(self._settings_file(folder), self._settings())

    def _launched(self, folder: Path) -> ServerProcess:
        environment = {**self._environment(), **self._by_the_clock()}
        process = ServerProcess(self.name, self._command(self._settings_file(folder)), folder=folder, environment=environment)
        process.wait_until(lambda: answers(self.metadata_url))
        return process

    def _tell(self) -> None:
        # Before `start` there is no file yet, and `start` writes it.
        if self._folder is not None:
            write_settings(self._settings_file(self._folder), self._settings())

    @abstractmethod
    def _command(self, settings: Path) -> list[str]: ...

    def _environment(self) -> dict[str, str]:
        return {}

    def _settings(self) -> dict[str, object]:
        lasts = self.manners.session_lasts
        return {
            "port": self.port,
            "url": self.url,
            "entity_id": self.entity_id,
            "password": PASSWORD,
            "people": described(self.employees),
            "key_file": str(self.key.key_file),
            "certificate_file": str(self.key.certificate_file),
            "other_certificate_files": [str(key.certificate_file) for key in self._keys[1:]],
            "signed": self.manners.signed,
            "outdated": self.manners.outdated,
            "encrypted": self.manners.encrypted,
            "session_lasts": lasts.total_seconds() if lasts is not None else None,
            "authn_context": self.manners.authn_context,
            "name_id": self.manners.name_id,
        }

    def _settings_file(self, folder: Path) -> Path:
        return folder / f"{self.name}.json"
