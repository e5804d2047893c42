"""An identity provider made with Auth0's samlp, on a free loopback port; its pages are in `samlp_idp.cjs`."""

from __future__ import annotations

from pathlib import Path

from tests.servers.identities import CannotAnswerSo, SAMLManners
from tests.servers.node import placed
from tests.servers.saml_settings import SAMLServer, entity_id_in, service_provider_in


class SamlpIdP(SAMLServer):
    """Signs an assertion before it encrypts it. Has no SessionNotOnOrAfter."""

    name = "samlp"

    @property
    def entity_id(self) -> str:
        # Not an address, as with many products; the port tells two of them apart.
        return f"urn:example:samlp:{self.port}"

    def answer(self, manners: SAMLManners) -> None:
        if manners.session_lasts is not None:
            raise CannotAnswerSo("samlp writes no SessionNotOnOrAfter; pysaml2 and LemonLDAP::NG do")
        super().answer(manners)

    def _command(self, settings: Path) -> list[str]:
        return ["node", "--no-deprecation", str(placed(settings.parent, "samlp_idp.cjs")), str(settings)]

    def _settings(self) -> dict[str, object]:
        known = {entity_id_in(metadata): service_provider_in(metadata) for metadata in self._trusted.values()}
        return {**super()._settings(), "service_providers": known}
