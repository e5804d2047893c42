"""A SAML connection that responses are tried at, asked without a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.access.connection_tables import Connection, ConnectionKind
from app.access.sealing import make_key
from app.settings import from_environment
from app.sso import saml
from app.sso.refusals import Reason, Refused
from app.sso.saml_checks import Assertion, check
from app.sso.saml_settings import Provider, provider_of
from app.sso.saml_setup import new_connection
from tests.company import NOW
from tests.keys_at_hand import keep_saml_keys_at_hand
from tests.saml_provider import Element, SAMLProvider, ServiceProvider, posted, provider, read_again, service_provider, sign

keep_saml_keys_at_hand()

ADA, MALLORY = "im-ada-1001", "im-ceo-0001"


class Door:
    """One connection, asked without a database: what it makes of a response."""

    def __init__(self, home: Path) -> None:
        settings = from_environment({"DOORLIST_HOME": str(home), "DOORLIST_PUBLIC_URL": "https://doorlist.acme.example"})
        make_key(settings)
        self.idp: SAMLProvider = provider()
        new = new_connection(settings, self.idp.metadata(), connection_id="acme", at=NOW)
        connection = Connection(
            organization_id="acme", id="acme", kind=ConnectionKind.SAML, name="acme", issuer=new.issuer, settings={"saml": new.saml},
            sealed_secret=new.sealed_secret,
        )  # fmt: skip
        self.provider: Provider = provider_of(settings, connection)
        self.to: ServiceProvider = service_provider(saml.metadata(settings, connection))

    def says(self, **changes: Any) -> Element:
        """A good response, its assertion signed."""
        return self.idp.responds(self.to, at=NOW, in_response_to="_asked", **changes)

    def unsigned(self, **changes: Any) -> Element:
        return self.idp.says(self.to, at=NOW, in_response_to="_asked", **changes).written()

    def both(self, **changes: Any) -> Element:
        """A good response, assertion and response signed."""
        tree = self.says(**changes)
        sign(tree, self.idp.key)
        return read_again(tree)

    def takes(self, response: Element | bytes) -> Assertion:
        return check(self.provider, posted(response), at=NOW)

    def refuses(self, response: Element | bytes, reason: Reason, because: str) -> None:
        with pytest.raises(Refused, match=because) as refused:
            self.takes(response)
        assert refused.value.reason is reason
