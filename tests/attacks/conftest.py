"""A directory under attack, and another organisation's beside it in the same database."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.access.sealing import make_key
from app.clock import now
from app.database import in_transaction
from app.lifecycle.sources import add_organization, add_scim_source
from tests.clients.directory import Directory, directory_on
from tests.company import ADMIN


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Attacks take their time, and are left to the whole run."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def directory(database_url: str, tmp_path: Path) -> Iterator[Directory]:
    with directory_on(database_url, tmp_path) as found, found.app.app_context():
        make_key(found.app.config["DOORLIST"])
        yield found


@pytest.fixture
def beside(directory: Directory) -> Directory:
    """Another directory of the same organisation; to be asked for before `foreign`."""
    return directory.beside("entra")


@pytest.fixture
def foreign(directory: Directory) -> Directory:
    """A directory of another organisation of the same installation; by bad luck it has the same name."""

    def act(session: Session) -> Directory:
        organization = add_organization(session, "Contoso", at=now())
        source, token = add_scim_source(session, organization.id, "okta", actor=ADMIN, at=now())
        return replace(directory, source_id=source.id, token=token)

    return in_transaction(act)
