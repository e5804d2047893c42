"""A provider that changes its certificates, and a connection that reads its metadata again."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from app.access.connection_tables import Connection
from app.database import in_transaction
from app.sso.saml_refreshing import refresh
from tests.company import ADMIN, NOW
from tests.saml_arrangement import Arrangement
from tests.saml_provider import SAMLProvider, assertion_of, keys, provider, sign

IDP = provider()
NEXT = keys("next")


def rolling(*certificates: object) -> SAMLProvider:
    return replace(IDP, certificates=certificates)  # type: ignore[arg-type]  # certificates, as the caller says


def refreshed(here: Arrangement, metadata: str, *, at: datetime = NOW, by: object = refresh) -> list[str]:
    assert callable(by)

    def act(session: Session) -> list[str]:
        found = session.get_one(Connection, (here.company.organization_id, here.connection_id))
        changes: list[str] = by(session, found, metadata, actor=ADMIN, at=at)
        return changes

    return in_transaction(act)


def signed_by_next(here: Arrangement, *, at: datetime = NOW) -> str:
    tree = here.provider.says(here.to, at=at, in_response_to=here.asks(at=at)).written()
    sign(assertion_of(tree), NEXT)
    return here.comes_back(tree, at=at).subject
