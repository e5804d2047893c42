"""`make servers`, with stand-ins for the programs that would install: what is missing is said, and nothing half made is left."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.identities import IdentityProviderMissing
from tests.servers.node import packages
from tests.servers.processes import REPOSITORY

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root installs, and so may leave nothing running")
BROKEN_NPM = "mkdir -p .idps/node_modules/half && exit 1"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A checkout, and programs that are found before the machine's own."""

    folder: Path

    @property
    def programs(self) -> Path:
        return self.folder / "programs"

    @property
    def idps(self) -> Path:
        return self.folder / "checkout" / ".idps"

    def has(self, program: str, does: str) -> None:
        file = self.programs / program
        file.write_text(f"#!/bin/bash\n{does}\n")
        file.chmod(0o755)

    def has_node(self, version: int) -> None:
        self.has("node", f'[ "$1" = -p ] && echo {version} || echo v{version}.9.0')

    def makes_servers(self, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "CI"}
        path = {"PATH": f"{self.programs}:{os.environ['PATH']}"}
        return subprocess.run(
            [self.folder / "checkout" / ".ci" / "servers"], env=environment | path | settings, capture_output=True, text=True, check=False, timeout=60
        )

    def heard(self, word: str) -> list[str]:
        heard = self.folder / "heard"
        return [line for line in heard.read_text().splitlines() if word in line] if heard.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(folder=tmp_path)
    made.programs.mkdir()
    for part in (".ci/servers", "tests/servers/package.json", "tests/servers/package-lock.json"):
        (tmp_path / "checkout" / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / part, tmp_path / "checkout" / part)
    # Nothing is installed in earnest, whatever this machine lacks.
    made.has("apt-get", "exit 0")
    made.has("sudo", 'exec "$@"')
    made.has("systemctl", f'echo "$*" >> {tmp_path}/heard')
    made.has("npm", f'echo "npm $*" >> {tmp_path}/heard; mkdir -p .idps/node_modules/whole')
    made.has_node(22)
    return made


def test_packages_that_are_all_there_are_installed_once(machine: Machine) -> None:
    for _ in range(2):
        machine.makes_servers()

    assert (machine.idps / "node_modules" / "whole").is_dir()
    assert len(machine.heard("npm ci")) == 1


def test_packages_that_came_by_half_are_not_left_for_all_of_them(machine: Machine) -> None:
    machine.has("npm", BROKEN_NPM)

    said = machine.makes_servers()

    assert "NO oidc-provider and samlp: npm failed" in said.stderr
    assert not (machine.idps / "node_modules").exists()


def test_packages_of_before_are_not_taken_for_those_that_could_not_be_brought(machine: Machine) -> None:
    machine.makes_servers()
    (machine.folder / "checkout" / "tests" / "servers" / "package-lock.json").write_text("{}")
    machine.has("npm", BROKEN_NPM)

    machine.makes_servers()

    assert not (machine.idps / "node_modules").exists() and not (machine.idps / ".installed").exists()


def test_in_continuous_integration_what_is_missing_is_a_failure(machine: Machine) -> None:
    machine.has("npm", BROKEN_NPM)

    assert machine.makes_servers(CI="true").returncode == 1


def test_a_node_that_is_too_old_is_not_taken(machine: Machine) -> None:
    machine.has_node(18)

    said = machine.makes_servers()

    assert "NO Node 20 or later" in said.stderr
    assert machine.heard("npm ci") == []


def test_servers_that_need_node_say_that_it_is_too_old(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has_node(18)
    monkeypatch.setenv("PATH", f"{machine.programs}:{os.environ['PATH']}")

    with pytest.raises(IdentityProviderMissing, match="node here is version 18; 20 or later is needed"):
        packages()


@AS_ROOT
def test_what_is_installed_is_not_started_with_the_machine(machine: Machine) -> None:
    machine.has_node(18)
    listed = machine.folder / "enabled"
    listed.write_text("ssh.service enabled enabled\n")
    machine.has("apt-get", f'[ "$1" = update ] || echo "slapd.service enabled enabled" >> {listed}')
    machine.has("systemctl", f'[[ "$*" == *list-unit-files* ]] && cat {listed} || echo "$*" >> {machine.folder}/heard')

    said = machine.makes_servers()

    assert machine.heard("disable") == ["--root=/ disable --quiet slapd.service"], said.stderr


def test_where_clocks_cannot_be_wrong_tests_of_that_are_skipped_loudly(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORLIST_TEST_FAKETIME", "/nowhere/libfaketime.so.1")
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match="NOT TESTED ON WRONG CLOCKS: libfaketime is not installed here"):
        request.getfixturevalue("wrong_clocks")


def test_in_continuous_integration_clocks_must_be_wrong(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORLIST_TEST_FAKETIME", "/nowhere/libfaketime.so.1")
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match="CI must test on WRONG CLOCKS"):
        request.getfixturevalue("wrong_clocks")
