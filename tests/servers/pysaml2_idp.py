"""An identity provider made with pysaml2, on a free loopback port; its pages are in `pysaml2_site`."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from tests.servers.identities import IdentityProviderMissing
from tests.servers.processes import REPOSITORY
from tests.servers.saml_settings import SAMLServer


class PySAML2IdP(SAMLServer):
    """Knows every one of `SAMLManners`, but what it encrypts python3-saml refuses: pysaml2 either leaves the assertion unsigned
    or signs it so that the signature does not hold once it is decrypted."""

    name = "pysaml2"

    @property
    def entity_id(self) -> str:
        return f"{self.url}/metadata"

    def _command(self, settings: Path) -> list[str]:
        return [sys.executable, "-m", "tests.servers.pysaml2_site", str(settings)]

    def _environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(REPOSITORY)}

    def _settings(self) -> dict[str, object]:
        return {**super()._settings(), "xmlsec": _xmlsec(), "service_providers": list(self._trusted.values())}


def _xmlsec() -> str:
    if find_spec("saml2") is None:
        raise IdentityProviderMissing("pysaml2 is not in this environment; `make setup` installs it")
    found = shutil.which("xmlsec1")
    if found is None:
        raise IdentityProviderMissing("xmlsec1, which pysaml2 signs with, is not installed here; `make servers` installs it")
    return found
