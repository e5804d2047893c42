"""Servers written for Node: where their packages are, and a place to run a script of ours beside them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.servers.identities import IdentityProviderMissing
from tests.servers.processes import REPOSITORY

HERE = Path(__file__).resolve().parent
NEEDED = 20
"""What package.json asks for; an older one does not know what the packages use."""


def packages() -> Path:
    """The `node_modules` of `DOORLIST_TEST_IDPS` (default `.idps`). Raises IdentityProviderMissing."""
    found = Path(os.environ.get("DOORLIST_TEST_IDPS") or REPOSITORY / ".idps") / "node_modules"
    node = shutil.which("node")
    if node is None:
        raise IdentityProviderMissing("node is not installed here; `make servers` installs it")
    if _version_of(node) < NEEDED:
        raise IdentityProviderMissing(f"node here is version {_version_of(node)}; {NEEDED} or later is needed")
    if not found.is_dir():
        raise IdentityProviderMissing(f"no packages at {found}: `make servers` installs them")
    return found


@cache
def _version_of(node: str) -> int:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False, timeout=20).stdout
    found = re.match(r"v(\d+)\.", said)
    return int(found[1]) if found else 0


def placed(folder: Path, script: str) -> Path:
    """A copy of the script in `folder`, with the packages beside it: an ES module looks for them nowhere else."""
    modules = folder / "node_modules"
    if not modules.exists():
        modules.symlink_to(packages())
    return Path(shutil.copy(HERE / script, folder / script))
