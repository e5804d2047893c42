"""Takes one defence out at a time, in a copy of the house, and shows that its test notices: `python -m tests.attacks.without_defence`.

Ends with 1 where a test still passes without its defence, or where the defence is no longer where it is said to be.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HOUSE: Final = Path(__file__).parents[2]
COPIED: Final = ("app", "connectors", "migrations", "tests", "pyproject.toml")


@dataclass(frozen=True, kw_only=True)
class Defence:
    """In `path` stands `there`; with `instead` in its place the attack `id` succeeds, and `test` says so."""

    id: str
    what: str
    path: str
    there: str
    instead: str
    test: str


DEFENCES: Final = (
    Defence(
        id="D12", what="the epoch in every question of access", path="app/access/sessions.py",
        there="held.ended_at.is_(None), held.epoch == Person.access_epoch,", instead="held.ended_at.is_(None),",
        test="tests/attacks/test_departure.py::test_d12_who_comes_back_holds_nothing_old",
    ),
    Defence(
        id="D01", what="no message from before access was taken", path="app/sso/entering.py",
        there="if taken is not None and issued_at < taken:", instead="if False:",
        test="tests/attacks/test_sign_in.py::test_d01_a_sign_in_under_way_at_a_departure_opens_nothing_even_after_a_return",
    ),
    Defence(
        id="S21", what="no SHA-1", path="app/sso/saml_signatures.py",
        there='    f"{_MORE}rsa-sha256": xmlsec.Transform.RSA_SHA256,\n',
        instead='    f"{_MORE}rsa-sha256": xmlsec.Transform.RSA_SHA256,\n    "http://www.w3.org/2000/09/xmldsig#rsa-sha1": xmlsec.Transform.RSA_SHA1,\n',
        test="tests/attacks/test_saml_signatures.py -k s21",
    ),
    Defence(
        id="S22", what="an assertion counts once", path="app/access/spent.py", there="return used is not None", instead="return True",
        test="tests/attacks/test_saml_sign_ins.py -k s22",
    ),
    Defence(
        id="S27", what="no sign-in that nobody asked for", path="app/sso/entering.py",
        there="if not verified.solicited and not chosen.allow_idp_initiated:", instead="if False:",
        test="tests/attacks/test_sign_in.py -k s27",
    ),
    Defence(
        id="S28", what="only paths of our own to go on to", path="app/sso/logins.py",
        there='if not wanted or not wanted.startswith("/") or wanted.startswith("//"):', instead="if not wanted:",
        test="tests/attacks/test_sign_in_pages.py -k s28",
    ),
    Defence(
        id="O12", what="a code counts once", path="app/access/issued.py",
        there="return token.used_at is None and token.ended_at is None and token.expires_at > at", instead="return token.expires_at > at",
        test="tests/attacks/test_provider.py -k o12",
    ),
    Defence(
        id="O14", what="nobody is bound by an address", path="app/sso/binding.py",
        there='return DirectoryKey(), None if "@" in verified.subject else verified.subject', instead="return DirectoryKey(), verified.email or verified.subject",
        test="tests/attacks/test_sign_in.py -k 'o14 or o15'",
    ),
    Defence(
        id="W05", what="a call that can be read in two ways is refused", path="app/intake/hr.py",
        there="read_json(body, unique=True)", instead="__import__('json').loads(body)", test="tests/attacks/test_webhooks.py -k w05",
    ),
    Defence(
        id="W02", what="signatures of HR calls", path="app/intake/hr.py", there="Webhook(secret).verify(body, headers, json_parse=False)",
        instead="pass", test="tests/attacks/test_webhooks.py -k w02",
    ),
    Defence(
        id="D08", what="the brake on signed calls", path="app/lifecycle/leaving.py", there="if pushed_now and source is not None and not brake",
        instead="if False and source is not None and not brake", test="tests/attacks/test_departure.py -k d08",
    ),
)  # fmt: skip


def tests_pass(house: Path, test: str) -> bool:
    """Whether the tests of one defence pass in this copy of the house, on SQLite."""
    where, _, which = test.partition(" -k ")
    chosen = f"({which.strip(chr(39))}) and not postgres" if which else "not postgres"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", where, "-k", chosen], cwd=house, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ran.returncode not in (0, 1):
        raise SystemExit(f"{test}: pytest ended with {ran.returncode}\n{ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    return ran.returncode == 0


def main() -> int:
    failed = 0
    wanted = set(sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        for defence in (one for one in DEFENCES if not wanted or one.id in wanted):
            house = Path(folder) / defence.id
            house.mkdir()
            for name in COPIED:
                copy = shutil.copytree if (HOUSE / name).is_dir() else shutil.copy
                copy(HOUSE / name, house / name)
            source = house / defence.path
            text = source.read_text()
            if text.count(defence.there) != 1:
                print(f"{defence.id}  {defence.what}: not found once in {defence.path}")
                failed += 1
                continue
            with_it = tests_pass(house, defence.test)
            source.write_text(text.replace(defence.there, defence.instead))
            without = tests_pass(house, defence.test)
            good = with_it and not without
            failed += not good
            said = "passes with it, fails without" if good else f"{'passes' if with_it else 'FAILS'} with it, {'PASSES' if without else 'fails'} without"
            print(f"{defence.id}  {defence.what}: {said}  ({defence.test})", flush=True)
            shutil.rmtree(house)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
