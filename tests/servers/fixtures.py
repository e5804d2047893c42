"""Fixtures that start real servers. A pytest plugin: name it in `pytest_plugins` of the root conftest.

The servers last for the whole run, so a test says itself what it needs of one (`trust`, `register`, `employ`), and what it
changes for a while it changes in a `with` (`answering`). Where a server is not installed its tests are skipped, with one loud
line at the end; on CI they fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from tests.servers.chromium import Chromium, ChromiumMissing, running_chromium
from tests.servers.directories import DirectoryMissing, DirectoryServer
from tests.servers.ds389 import DS389
from tests.servers.identities import IdentityProviderMissing
from tests.servers.identity_server import faketime
from tests.servers.lemonldap import LemonLDAP
from tests.servers.oidc_provider import NodeOIDCProvider
from tests.servers.openldap import OpenLDAP
from tests.servers.pysaml2_idp import PySAML2IdP
from tests.servers.samba import Samba
from tests.servers.samlp_idp import SamlpIdP
from tests.servers.synapse import Synapse, SynapseMissing

NOT_TESTED = {
    "POSTGRESQL": "make servers",
    "SYNAPSE": "make synapse",
    "CHROMIUM": "make servers",
    "PYSAML2": "make servers",
    "SAMLP": "make servers",
    "LEMONLDAP": "make servers",
    "OIDC-PROVIDER": "make servers",
    "OPENLDAP": "make servers",
    "SAMBA": "make servers",
    "389-DS": "make servers",
    "WRONG CLOCKS": "make servers",
}
MARKERS = (
    "bare: on PostgreSQL, begins with the tables and without what guards them",
    "idp: needs real identity providers (`make servers` installs them)",
    "browser: needs Chromium (`make servers` installs it)",
    "ldap: needs real LDAP servers (`make servers` installs them)",
)


class Server(Protocol):
    def start(self, folder: Path) -> None: ...

    def stop(self) -> None: ...


S = TypeVar("S", bound=Server)


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One loud line for each at the end, so that nobody takes an untested connector for a tested one."""
    for name, remedy in NOT_TESTED.items():
        skipped = [report for report in terminalreporter.stats.get("skipped", []) if _line(name) in report.longreprtext]
        if skipped:
            terminalreporter.write_line(f"{_line(name)}: {len(skipped)} tests skipped (`{remedy}`)", red=True, bold=True)


def _line(name: str) -> str:
    return f"NOT TESTED ON {name}"


def _missing(name: str, error: Exception) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"CI must test on {name}: {error}")
    pytest.skip(f"{_line(name)}: {error}")


@contextmanager
def running(name: str, server: S, folder: Path) -> Iterator[S]:
    try:
        # What has been started is stopped, also where it could not be furnished.
        try:
            server.start(folder)
        except (DirectoryMissing, IdentityProviderMissing, SynapseMissing) as error:
            _missing(name, error)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def synapse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    """One for the whole run: use names of your own in it."""
    with running("SYNAPSE", Synapse(), tmp_path_factory.mktemp("synapse")) as server:
        yield server


@pytest.fixture(scope="session")
def pysaml2_idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PySAML2IdP]:
    with running("PYSAML2", PySAML2IdP(), tmp_path_factory.mktemp("pysaml2")) as server:
        yield server


@pytest.fixture(scope="session")
def samlp_idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SamlpIdP]:
    with running("SAMLP", SamlpIdP(), tmp_path_factory.mktemp("samlp")) as server:
        yield server


@pytest.fixture(scope="session")
def lemonldap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LemonLDAP]:
    """SAML identity provider and OpenID provider in one."""
    with running("LEMONLDAP", LemonLDAP(), tmp_path_factory.mktemp("lemonldap")) as server:
        yield server


@pytest.fixture(scope="session")
def oidc_provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeOIDCProvider]:
    with running("OIDC-PROVIDER", NodeOIDCProvider(), tmp_path_factory.mktemp("oidc-provider")) as server:
        yield server


@pytest.fixture
def wrong_clocks() -> None:
    """For who sets the clock of an identity provider wrong (`clock_off`)."""
    try:
        faketime()
    except IdentityProviderMissing as error:
        _missing("WRONG CLOCKS", error)


@pytest.fixture(scope="session")
def openldap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenLDAP]:
    with running("OPENLDAP", OpenLDAP(), tmp_path_factory.mktemp("openldap")) as server:
        yield server


@pytest.fixture(scope="session")
def samba(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    """Only root may start it. Its account that reads sees deleted objects, and may ask for DirSync."""
    with running("SAMBA", Samba(), tmp_path_factory.mktemp("samba")) as server:
        server.show_deleted()
        server.allow_replication()
        yield server


@pytest.fixture(scope="session")
def ds389(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DS389]:
    """Only root may start it."""
    server = DS389()
    try:
        with running("389-DS", server, tmp_path_factory.mktemp("ds389")):
            yield server
    finally:
        server.dispose()


@pytest.fixture(params=["openldap", "samba", "ds389"])
def ldap_server(request: pytest.FixtureRequest) -> Iterator[DirectoryServer]:
    """Each of them in turn, with nobody in it."""
    server: DirectoryServer = request.getfixturevalue(request.param)
    server.empty()
    yield server
    server.empty()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """For one module only, since playwright keeps a loop of asyncio's running in this thread."""
    try:
        with running_chromium() as browser:
            yield browser
    except ChromiumMissing as error:
        _missing("CHROMIUM", error)
