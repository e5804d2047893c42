"""`make demo`: Doorlist's whole job once, on real parts, with someone watching who does not trust it.

An identity provider pushes a company, a real Synapse gets its channels, one person moves, one leaves and is
proved to be shut out, and a mass unassignment is stopped. Doorlist is driven by its command line and its HTTP
doors alone.
"""

import argparse
import fcntl
import json
import os
import shutil
import socket
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import requests

from tests.ending import end_in_order
from tests.journeys import company
from tests.journeys.chat_clients import SignInRefused
from tests.journeys.chat_tree import ChatAdmin, channels, draw
from tests.journeys.company import Person
from tests.journeys.departure import depart
from tests.journeys.doorlist import Doorlist, Progress, StepFailed, end
from tests.journeys.okta import Okta, ProvisioningFailed
from tests.journeys.stage import Stage, indented, is_colleague, keep_secret, say
from tests.servers.synapse import Synapse, SynapseMissing

RULES: Final = Path(__file__).with_name("demo_rules.yaml")
DEFAULT_PORT: Final = 8484
PUSH_THREADS: Final = 4
UNASSIGNED: Final = 200


def set_up(folder: Path, *, size: int, leaving: ExitStack, port: int = DEFAULT_PORT) -> Stage:
    """Synapse, Doorlist (on `port` where it is free), one directory, one workspace, the rules and the HR source."""
    say("Starting Matrix Synapse and Doorlist")
    synapse = Synapse()
    leaving.callback(synapse.stop)
    # Its configuration names its files, and it runs in a folder of its own.
    synapse.start((folder / "synapse").absolute())
    chat = ChatAdmin(synapse.url, synapse.admin_token)
    doorlist = Doorlist(home=folder / "doorlist", port=free_port(port))
    doorlist.run("init", "--organization", "Northwind")
    server = doorlist.serve(folder / "doorlist.log")
    leaving.callback(end, server)

    base_url, token = doorlist.fields("source", "add", "scim", "okta", names=("base_url", "token"))
    keep_secret(folder / "scim.token", token)
    token_file = keep_secret(folder / "provisioner.token", synapse.admin_token)
    workspace = ("workspace", "add", "matrix", "chat", "--url", synapse.url, "--token-file", str(token_file))
    doorlist.fields(*workspace, names=("id",))
    doorlist.json("rules", "apply", str(RULES))
    hr_url, hr_secret = doorlist.fields("source", "add", "hr", "hr", names=("url", "secret"))

    okta = Okta(base_url, token)
    if (there := okta.test_connection()) != 0:
        raise StepFailed(f"a new directory should be empty, and says it has {there} people")
    say(f"  Doorlist at {doorlist.url}, Synapse {synapse.url}, everything in {folder}/")
    return Stage(
        folder=folder,
        doorlist=doorlist,
        server=server,
        synapse=synapse,
        synapse_url=synapse.url,
        auditor_token=synapse.register_admin("auditor"),
        chat=chat,
        okta=okta,
        hr_url=hr_url,
        hr_secret=hr_secret,
        people=list(company.people(size=size)),
    )


def provision(stage: Stage) -> None:
    """The company is pushed, and Synapse is read to see whether it has the shape of the company."""
    people = stage.people
    groups = company.pushed_groups(people)
    say(f"Okta pushes {len(people)} people, managers first, and {len(groups)} groups")
    began = time.monotonic()
    stage.okta.push(people, threads=PUSH_THREADS, progress=Progress("pushed", total=len(people)))
    for group in groups:
        stage.okta.push_group(group)
    pushed = time.monotonic() - began
    stage.doorlist.settle(saying=Progress("delivered", total=len(people)))
    took = time.monotonic() - began

    rooms = stage.chat.rooms()
    held_by = {room.name: room.members for room in channels(rooms.values())}
    check_shape(held_by, people, groups)
    memberships = sum(len(members) for members in held_by.values())
    stage.figures |= {
        "people": len(held_by["all-hands"]),
        "channels": len(held_by),
        "memberships": memberships,
        "seconds_to_provision": round(took, 1),
    }
    say(f"  pushed in {pushed:.1f} s, all of it in Synapse after {took:.1f} s, which now holds:\n")
    say(indented(draw(rooms)))


def check_shape(held_by: dict[str, frozenset[str]], people: list[Person], groups: tuple[company.PushedGroup, ...]) -> None:
    """By counting only: which account is whose is Doorlist's to say, and is looked at where someone moves."""
    if len(held_by.get("all-hands", ())) != len(people):
        raise StepFailed(f"all-hands should hold {len(people)} people, not {len(held_by.get('all-hands', ()))}")
    employees = [person for person in people if person.user_type == "Employee"]
    expect_sizes("dept-", held_by, Counter(person.department for person in employees if person.department))
    expect_sizes("grp-", held_by, Counter({group.name: len(group.members) for group in groups}))
    # The manager owns the team's channel, and an owner is in it.
    reports = Counter(person.manager for person in people if person.manager is not None)
    expect_sizes("team-", held_by, Counter({manager: count + 1 for manager, count in reports.items()}))


def expect_sizes(prefix: str, held_by: dict[str, frozenset[str]], wanted: Counter[Any]) -> None:
    seen = sorted(len(members) for name, members in held_by.items() if name.startswith(prefix))
    if seen != sorted(wanted.values()):
        raise StepFailed(f"the {prefix}… channels should hold {sorted(wanted.values())} people, they hold {seen}")


def move(stage: Stage) -> Person:
    """Someone from R&D goes to Finance, and the channels follow."""
    mover = next(person for person in stage.people if person.department == "R&D" and is_colleague(person))
    leader = next(person for person in stage.people if person.department == "Finance" and person.level == 3)
    moved = mover.moved(to=leader)
    account = stage.account_of(mover)
    before = rooms_by_name(stage, account)
    say(f"\n{mover.display_name} moves from {mover.department} to {moved.department}")
    stage.okta.update(moved)
    stage.doorlist.settle()
    after = rooms_by_name(stage, account)
    for name in sorted(before - after):
        say(f"    - {name}")
    for name in sorted(after - before):
        say(f"    + {name}")
    left, joined = kinds(before - after), kinds(after - before)
    if left != {"dept", "team"} or joined != {"dept", "team"}:
        raise StepFailed(
            f"{mover.display_name} should have changed department and team channel, "
            f"and left {sorted(before - after)} and joined {sorted(after - before)}"
        )
    stage.people[mover.number] = moved
    return moved


def unassign_many(stage: Stage, *, spared: frozenset[int]) -> None:
    """Someone unassigns 200 people in Okta by mistake; the brake lets a few through and holds the rest."""
    unlucky = [person for person in reversed(stage.people) if person.number not in spared][:UNASSIGNED]
    say(f"\nOkta unassigns {len(unlucky)} people at once")
    before = stage.chat.closed_accounts()
    progress = Progress("unassigned", total=len(unlucky))
    unassigning = stage.okta.each(unlucky, stage.okta.deactivate, threads=PUSH_THREADS)
    for done, _ in enumerate(unassigning, start=1):
        progress(done)
    stage.doorlist.settle()
    entries = stage.doorlist.json("held", "list").get("held")
    if not isinstance(entries, list) or not entries:
        raise StepFailed(f"the brake held nobody of {len(unlucky)} people who were unassigned at once")
    held = sum(int(entry["people"]) for entry in entries)
    closed = len(stage.chat.closed_accounts() - before)
    if held + closed != len(unlucky) or held < len(unlucky) // 2:
        raise StepFailed(f"of {len(unlucky)} people unassigned, {held} are held and {closed} were shut out")
    say(f"  {closed} went through, the brake holds {held}, who still work; `doorlist held list` shows them")
    stage.figures["held"] = held


def keep_serving(stage: Stage, leaver: Person, moved: Person) -> None:
    """Prints what to try and waits for Ctrl-C."""
    prefix = f"DOORLIST_HOME={stage.doorlist.home} .venv/bin/doorlist"
    authorization = f'-H "Authorization: Bearer $(cat {stage.folder}/scim.token)"'
    base = stage.okta.base_url
    say(
        f"""
Still serving; Ctrl-C ends it. What to try next, from another terminal:
  curl -s {stage.doorlist.url}/readyz
  curl -s {authorization} '{base}/Users?startIndex=1&count=2'
  curl -s {authorization} -G '{base}/Users' --data-urlencode 'filter=userName eq "{moved.user_name}"'
  curl -s {stage.doorlist.url}/metrics | grep doorlist
  {prefix} status
  {prefix} explain {moved.user_name}
  {prefix} receipt {leaver.user_name}
  {prefix} held list
  {prefix} plan"""
    )
    try:
        ended = stage.server.wait()
    except KeyboardInterrupt:
        say("\nEnding Doorlist and Synapse")
    else:
        raise StepFailed(f"`doorlist serve` ended by itself with {ended}; {stage.folder}/doorlist.log says why")


def rooms_by_name(stage: Stage, account: str) -> frozenset[str]:
    in_rooms = stage.chat.rooms_of(account)
    return frozenset(room.name for room in channels(stage.chat.rooms().values()) if room.room_id in in_rooms)


def kinds(names: frozenset[str]) -> set[str]:
    return {name.split("-", 1)[0] for name in names}


def free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StepFailed("this machine has no free port on 127.0.0.1")


def empty(folder: Path, *, leaving: ExitStack) -> None:
    """A clean start in a folder that no other demo is using."""
    folder.mkdir(exist_ok=True)
    lock = leaving.enter_context((folder / "lock").open("w"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StepFailed(f"another demo is running in {folder}; end it first") from error
    for entry in folder.iterdir():
        if entry.name != "lock":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def play(options: argparse.Namespace, *, leaving: ExitStack) -> None:
    empty(options.folder, leaving=leaving)
    stage = set_up(options.folder, size=options.people, leaving=leaving)
    provision(stage)
    moved = move(stage)
    leaver = depart(stage, leaving=leaving)
    unassign_many(stage, spared=frozenset({leaver.number, moved.number}))
    if not options.once:
        keep_serving(stage, leaver, moved)
        return
    # The children end first, so that the figures are the last line whatever they have to say.
    leaving.close()
    say(json.dumps(stage.figures))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="demo", description="Doorlist's whole job once, on real parts.")
    parser.add_argument("--once", action="store_true", default=os.environ.get("ONCE", "") not in ("", "0"))
    parser.add_argument("--people", type=int, default=250, metavar="N", help="at least 250")
    parser.add_argument("--folder", type=Path, default=Path(".demo"))
    options = parser.parse_args(arguments)
    if options.people < 250:
        parser.error("--people: the brake is shown on 200 people, so it takes a company of 250 or more")
    end_in_order()
    try:
        with ExitStack() as leaving:
            play(options, leaving=leaving)
    except (StepFailed, ProvisioningFailed, SignInRefused, SynapseMissing, requests.RequestException) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
