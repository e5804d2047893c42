"""The act in which HR says that someone left, and the auditor says what came of it."""

import json
import secrets
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import requests
from standardwebhooks import Webhook

from tests.journeys.chat_clients import LongPollClient, SlidingClient
from tests.journeys.chat_tree import Room
from tests.journeys.company import Person
from tests.journeys.doorlist import StepFailed
from tests.journeys.push_gateway import PushGateway
from tests.journeys.stage import Stage, indented, is_colleague, keep_secret, say


def depart(stage: Stage, *, leaving: ExitStack) -> Person:
    """HR says that someone left. The auditor says what came of it, and what Okta's late word changed."""
    leaver, colleague = pair_of_teammates(stage.people)
    account, other = stage.account_of(leaver), stage.account_of(colleague)
    shared = stage.chat.rooms_of(account) & stage.chat.rooms_of(other)
    rooms = [room for room in stage.chat.rooms().values() if room.room_id in shared and not room.space]
    if not rooms:
        raise StepFailed(f"{leaver.display_name} and {colleague.display_name} share no channel")
    room = min(rooms, key=lambda room: len(room.members))

    say(f"\n{leaver.display_name} signs in on a laptop (long poll) and a phone (sliding sync, push)")
    folder = stage.folder / "audit"
    folder.mkdir()
    password = secrets.token_urlsafe(18)
    for user in (account, other):
        stage.chat.give_password(user, password)
        stage.chat.lift_limits(user)
    gateway = leaving.enter_context(PushGateway(folder / "pushes.jsonl"))
    clients = {"homeserver": stage.synapse_url, "user": account, "password": password}
    laptop = LongPollClient("laptop", log=folder / "clients.jsonl", **clients)
    phone = SlidingClient("phone", log=folder / "clients.jsonl", **clients)
    leaving.callback(laptop.stop)
    leaving.callback(phone.stop)
    laptop.start()
    phone.start(push_to=gateway.url)

    auditor = start_auditor(stage, folder, account=account, other=other, password=password, room=room)
    leaving.callback(end_auditor, auditor)
    expect_line(auditor, "ready")
    say(f"HR says that {leaver.display_name} ({leaver.employee_number}) is terminated, access ends at once")
    send_hr_event(stage, leaver, folder / "since")
    expect_line(auditor, "gone")

    say("Okta, late, says that the same person is active")
    stage.okta.activate(leaver)
    stage.doorlist.settle()
    if stage.okta.get(leaver).get("active") is not False:
        raise StepFailed(f"after HR's word and Okta's late one, SCIM shows {leaver.user_name} as active")
    (folder / "enough").touch()
    report(stage, auditor, leaver)
    return leaver


def start_auditor(stage: Stage, folder: Path, *, account: str, other: str, password: str, room: Room) -> subprocess.Popen[str]:
    """A program of its own, with the token of an administrator that Doorlist knows nothing of."""
    files = {
        "--admin-token-file": keep_secret(folder / "auditor.token", stage.auditor_token),
        "--poster-token-file": keep_secret(folder / "poster.token", stage.chat.sign_in(other, password)),
        "--password-file": keep_secret(folder / "password", password),
        "--clients": folder / "clients.jsonl",
        "--gateway-log": folder / "pushes.jsonl",
        "--since-file": folder / "since",
        "--watch-until": folder / "enough",
    }
    arguments = [str(part) for option in files.items() for part in option]
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.journeys.auditor",
            *arguments,
            "--synapse",
            stage.synapse_url,
            "--user",
            account,
            "--room",
            room.room_id,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def send_hr_event(stage: Stage, leaver: Person, since: Path) -> None:
    now = datetime.now(UTC)
    event = {
        "type": "employee.terminated",
        "timestamp": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "data": {
            "employee_id": leaver.employee_number,
            "work_email": leaver.user_name,
            "employment_status": "terminated",
            "termination_date": now.date().isoformat(),
            "last_day_of_work": now.date().isoformat(),
            "time_zone": "UTC",
            "reason": "involuntary",
            "revoke_access": "immediately",
        },
    }
    body = json.dumps(event, separators=(",", ":"))
    message_id = f"msg_{secrets.token_hex(12)}"
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(stage.hr_secret).sign(message_id, now, body),
    }
    began = time.time_ns()
    write_whole(since, str(began))
    answer = requests.post(stage.hr_url, data=body.encode(), headers=headers, timeout=30)
    took = (time.time_ns() - began) / 1e6
    if answer.status_code // 100 != 2:
        raise StepFailed(f"Doorlist answered {answer.status_code} to HR: {answer.text[:200]}")
    say(f"  answered {answer.status_code} after {took:.0f} ms")


def report(stage: Stage, auditor: subprocess.Popen[str], leaver: Person) -> None:
    try:
        printed, complained = auditor.communicate(timeout=60)
    except subprocess.TimeoutExpired as error:
        raise StepFailed("the auditor did not come to a verdict within a minute") from error
    if auditor.returncode not in (0, 8) or not printed.strip():
        raise StepFailed(f"the auditor gave no verdict: {complained.strip()}")
    verdict = json.loads(printed)
    if auditor.returncode == 8:
        raise StepFailed(f"the auditor found: {'; '.join(verdict['findings'])}")
    say("The auditor, with its own token and clock, counted from the HR call:")
    for name, client in verdict["clients"].items():
        say(f"    {name} ({client['kind']}) refused after {client['ms_to_refused']} ms, {client['errcode']}")
    say(f"    no session, device or pusher, sign-in refused:  after {verdict['ms_shut']} ms")
    say(f"    no membership left of {verdict['had']['rooms']}:  after {verdict['ms_gone']} ms")
    say(
        f"    {verdict['probes']} messages since then: {verdict['leaked_messages']} reached a client, {verdict['pushes_after']} were pushed"
    )
    say("    Okta's late active:true changed nothing")
    stage.figures |= {
        "ms_to_refused": verdict["ms_to_refused"],
        "ms_to_verified": verdict["ms_shut"],
        "ms_to_gone": verdict["ms_gone"],
    }
    say("Doorlist's own receipt:\n" + indented(stage.doorlist.run("receipt", leaver.user_name)))


def pair_of_teammates(people: list[Person]) -> tuple[Person, Person]:
    first: dict[int, Person] = {}
    for person in people:
        if person.department == "Engineering" and person.manager is not None and is_colleague(person):
            if person.manager in first:
                return first[person.manager], person
            first[person.manager] = person
    raise StepFailed(f"in a company of {len(people)} no two engineers share a team; ask for more people")


def expect_line(auditor: subprocess.Popen[str], word: str) -> None:
    """The auditor says where it is on stderr. It gives up by itself, so this does not wait for ever."""
    if auditor.stderr is None:
        raise StepFailed("the auditor cannot be heard")
    line = auditor.stderr.readline().strip()
    if line == word:
        return
    if line:
        raise StepFailed(line)
    # It ended without the word: its verdict says why.
    printed, _ = auditor.communicate()
    findings = json.loads(printed)["findings"] if printed.strip() else ["it ended without a word"]
    raise StepFailed(f"the auditor found: {'; '.join(findings)}")


def end_auditor(auditor: subprocess.Popen[str]) -> None:
    if auditor.poll() is None:
        auditor.kill()
    auditor.communicate()


def write_whole(path: Path, text: str) -> None:
    """Whoever waits for this file never sees half of it."""
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.rename(path)
