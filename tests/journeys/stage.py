"""What the acts of the demo share: the parts that run, the people, the figures so far, and how they speak."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.journeys.chat_tree import ChatAdmin
from tests.journeys.company import Person
from tests.journeys.doorlist import Doorlist
from tests.journeys.okta import Okta
from tests.servers.synapse import Synapse


@dataclass(kw_only=True)
class Stage:
    """What the acts of the demo share."""

    folder: Path
    doorlist: Doorlist
    server: subprocess.Popen[bytes]
    synapse: Synapse
    synapse_url: str
    auditor_token: str
    chat: ChatAdmin
    okta: Okta
    hr_url: str
    hr_secret: str
    people: list[Person]
    figures: dict[str, Any] = field(default_factory=dict)

    def account_of(self, person: Person) -> str:
        return self.chat.user_of(person.user_name)


def is_colleague(person: Person) -> bool:
    """Neither a manager, whose channels are more, nor a contractor, who is in no department's."""
    return person.level == 4 and person.user_type == "Employee"


def keep_secret(path: Path, value: str) -> Path:
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(value + "\n")
    return path


def say(text: str) -> None:
    print(text, flush=True)


def indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines())
