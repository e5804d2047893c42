"""One SAML response checked, beside python3-saml alone on the same bytes with the same certificates."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from onelogin.saml2.response import OneLogin_Saml2_Response

from app.access.connection_tables import Connection, ConnectionKind
from app.access.sealing import make_key
from app.clock import now
from app.settings import Settings, from_environment
from app.sso import saml
from app.sso.saml_checks import check
from app.sso.saml_settings import Provider, provider_of
from app.sso.saml_setup import new_connection
from tests.benchmarks.figures import Bound, Figure, Unit, middle
from tests.saml_provider import SAMLProvider, ServiceProvider, posted, provider, service_provider, sign

CHECKS: Final = 150
ROUNDS: Final = 5
ATTRIBUTES: Final = {
    "mail": ["ada@corp.example"],
    "displayName": ["Ada Lovelace"],
    "employeeNumber": ["1001"],
    "groups": [f"group-{number}" for number in range(20)],
}


def run(_bench: object = None) -> list[Figure]:
    """A response whose assertion is signed, and one that is signed itself as well. Both sides are measured in turns."""
    with tempfile.TemporaryDirectory(prefix="doorlist-bench-") as folder:
        return [_figure(Path(folder), signed_twice=twice) for twice in (False, True)]


def _figure(folder: Path, *, signed_twice: bool) -> Figure:
    at = now()
    settings = from_environment({"DOORLIST_HOME": str(folder)})
    make_key(settings)
    idp = provider()
    connection, to = _connected(settings, idp, at=at)
    tree = idp.responds(to, at=at, in_response_to="_asked", attributes=ATTRIBUTES)
    if signed_twice:
        sign(tree, idp.key)
    message = posted(tree)
    ours, alone = [], []
    for _ in range(ROUNDS):
        # The connection's settings are looked up each time, as a request does.
        ours.append(_each(lambda: check(provider_of(settings, connection), message, at=at)))
        alone.append(_each(lambda: _by_the_library(provider_of(settings, connection), to, message)))
    signed = "response and assertion signed" if signed_twice else "assertion signed"
    what = f"{CHECKS} SAML responses checked, {signed}"
    return Figure(
        what=what, unit=Unit.MILLISECONDS, measured=middle(ours) * 1e3, floor=middle(alone) * 1e3, floor_is="python3-saml alone",
        bound=Bound(times=1.3),
    )  # fmt: skip


def _connected(settings: Settings, idp: SAMLProvider, *, at: datetime) -> tuple[Connection, ServiceProvider]:
    new = new_connection(settings, idp.metadata(), connection_id="bench", at=at)
    connection = Connection(
        organization_id="bench", id="bench", kind=ConnectionKind.SAML, name="bench", issuer=new.issuer, settings={"saml": new.saml},
        sealed_secret=new.sealed_secret,
    )  # fmt: skip
    return connection, service_provider(saml.metadata(settings, connection))


def _by_the_library(known: Provider, to: ServiceProvider, message: str) -> None:
    address = urlsplit(to.acs)
    request = {"https": "off", "http_host": address.netloc, "script_name": address.path, "get_data": {}, "post_data": {}}
    OneLogin_Saml2_Response(known.toolkit, message).is_valid(request, "_asked", raise_exceptions=True)


def _each(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(CHECKS):
        act()
    return time.perf_counter() - began
