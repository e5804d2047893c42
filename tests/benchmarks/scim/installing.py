"""Installs the other servers, at pinned versions, into a folder that is kept until their versions change."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks.scim.served import NotServed

WITHIN: Final = 900.0
READY: Final = ".ready"
SERVERS: Final = Path(__file__).parent / "servers"


def from_npm(folder: Path, name: str, packages: dict[str, str]) -> Path:
    """The folder with `node_modules`. Raises NotServed."""
    if shutil.which("npm") is None:
        raise NotServed("npm is not installed here")
    manifest = json.dumps({"name": name, "private": True, "type": "module", "dependencies": packages})
    place = folder / f"{name}-{_digest(manifest)}"
    if not (place / READY).exists():
        _emptied(place)
        (place / "package.json").write_text(manifest)
        # No package's own script is run: what is needed is in the packages themselves.
        _run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=dev", "--omit=optional"], place)
        (place / READY).touch()
    return place.absolute()


def from_pypi(folder: Path, name: str, packages: Sequence[str]) -> Path:
    """The folder of a virtual environment. Raises NotServed."""
    place = folder / f"{name}-{_digest(repr([*packages, sys.version]))}"
    if not (place / READY).exists():
        _emptied(place)
        # pip of our own environment fills it, since some systems' Python cannot make one with pip in it.
        _run([sys.executable, "-m", "venv", "--without-pip", str(place.absolute())], folder)
        _run([sys.executable, "-m", "pip", "--python", str(place.absolute() / "bin/python"), "install", "--quiet", *packages], folder)
        (place / READY).touch()
    return place.absolute()


def _emptied(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _run(command: Sequence[str], folder: Path) -> None:
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        ended = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=WITHIN
        )
    except subprocess.TimeoutExpired as error:
        raise NotServed(f"`{' '.join(command[:3])}` did not end within {WITHIN:.0f} s") from error
    if ended.returncode:
        said = (ended.stderr or ended.stdout).strip().splitlines()
        raise NotServed(f"`{' '.join(command[:3])}` ended with {ended.returncode}: {' / '.join(said[-3:])[-300:]}")
