"""A desk to type at: the whole command line over a database of each kind, and a chat server that is a stand-in."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.actors import Actor, ActorKind
from app.assembly import without_doors
from app.clock import now
from app.commands.entry import doorlist
from app.database import db, in_transaction, reading
from app.directory.vocabulary import ENTERPRISE_URN
from app.journal.tables import Organization
from app.lifecycle.records import RecordDraft, add_record, change_record
from app.scim.seen import flush_requests
from app.settings import from_environment
from connectors import registry
from connectors.contract import (
    Account,
    AccountId,
    AccountState,
    ChannelRef,
    ChannelSeen,
    Check,
    Member,
    Profile,
    TargetSettings,
    Unreachable,
)
from tests.databases import migrated
from tests.late_doors import create_late
from tests.lent_engine import lent_engine
from tests.unit.commands.pushing import Pusher

Result = TypeVar("Result")
ENTERPRISE = ENTERPRISE_URN
OKTA = Actor(kind=ActorKind.SOURCE, name="okta")


@dataclass(kw_only=True)
class Chat:
    """A chat server in memory: accounts, and channels with members."""

    down: bool = False
    accounts: dict[AccountId, Account] = field(default_factory=dict)
    members: dict[ChannelRef, set[AccountId]] = field(default_factory=dict)
    rooms: dict[ChannelRef, ChannelSeen] = field(default_factory=dict)
    seen_token: str = ""

    def has(self, person_id: str, *, state: AccountState = AccountState.ACTIVE) -> AccountId:
        """Somebody who has an account here under our provider."""
        account_id = AccountId(f"@{person_id}:chat")
        self.accounts[account_id] = Account(id=account_id, person_id=person_id, display_name=person_id, emails=(), state=state)
        return account_id


class ChatTarget:
    """Reads the stand-in; nothing in these tests delivers."""

    def __init__(self, chat: Chat, settings: TargetSettings) -> None:
        self.name = settings.name
        self._chat = chat
        chat.seen_token = settings.token.reveal()

    def check(self) -> Check:
        self._answer()
        return Check(version="chat 1.0", problems=("pushes carry the text of messages",))

    def _answer(self) -> None:
        if self._chat.down:
            raise Unreachable(f"{self.name}: no answer", sent=False)

    def fit(self, profile: Profile) -> Profile:
        return profile

    def proposed_id(self, profile: Profile, *, attempt: int) -> AccountId:
        return AccountId(f"@{profile.user_name}-{attempt}:chat")

    def list_accounts(self) -> Iterator[Account]:
        self._answer()
        yield from self._chat.accounts.values()

    def find_account(self, person_id: str) -> Account | None:
        return next((one for one in self._chat.accounts.values() if one.person_id == person_id), None)

    def get_account(self, id: AccountId) -> Account | None:
        return self._chat.accounts.get(id)

    def find_channel(self, key: str) -> ChannelSeen | None:
        return None

    def get_channel(self, ref: ChannelRef) -> ChannelSeen | None:
        return self._chat.rooms.get(ref)

    def list_channels(self) -> Iterator[ChannelSeen]:
        yield from ()

    def list_members(self, ref: ChannelRef) -> Iterator[Member]:
        for account in sorted(self._chat.members.get(ref, ())):
            yield Member(account=account, joined=True)

    def channels_of(self, id: AccountId) -> frozenset[ChannelRef]:
        return frozenset(ref for ref, members in self._chat.members.items() if id in members)

    def _never(self, *_given: Any, **_named: Any) -> Any:
        raise AssertionError("something that was typed delivers")

    create_account = update_account = reactivate_account = deactivate_account = _never
    create_channel = update_channel = set_owners = add_members = invite_members = remove_members = _never


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a command ended and what it printed."""

    exit: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout; fails where there is anything else."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


@dataclass(kw_only=True)
class Desk:
    """Types commands, and puts people into the directory as a door would."""

    environment: dict[str, str]
    folder: Path
    chat: Chat
    app: Flask

    def types(self, *arguments: str, token: str | None = None) -> Said:
        """Run a command as the host's user, or as the operator whose token it is."""
        environment = self.environment | ({"DOORLIST_TOKEN": token} if token is not None else {})
        ended = CliRunner().invoke(doorlist, list(arguments), obj=lambda: lent_engine(self.app, without_doors(from_environment(environment))))
        return Said(exit=ended.exit_code, out=ended.stdout, err=ended.stderr)

    def asks(self, *arguments: str, token: str | None = None) -> dict[str, Any]:
        """Run a command that goes well, and read its JSON."""
        said = self.types(*arguments, "--json", token=token)
        assert said.exit == 0, said
        return said.json

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def acts(self, act: Callable[[Session], Result]) -> Result:
        """One transaction, as a door or the worker would make it."""
        with self.app.app_context():
            return in_transaction(act)

    @cached_property
    def organization_id(self) -> str:
        with self.app.app_context(), reading() as session:
            return session.scalars(select(Organization.id).order_by(Organization.created_at).limit(1)).one()

    def directory(self) -> str:
        """The id of a connected directory."""
        return str(self.asks("source", "add", "scim", "okta")["id"])

    def hires(self, source_id: str, name: str, *, number: str | None = None, email: str | None = None, department: str | None = None) -> str:
        """A directory names somebody; returns the person's id."""
        extension = {key: value for key, value in (("employeeNumber", number), ("department", department)) if value is not None}
        document: dict[str, Any] = {"displayName": name.title(), "emails": [{"value": email or f"{name}@acme.example", "primary": True}]}
        if extension:
            document[ENTERPRISE] = extension
        draft = RecordDraft(external_id=f"ext-{name}", user_name=f"{name}@acme.example", active=True, document=document)
        organization_id = self.organization_id
        return self.acts(lambda session: add_record(session, organization_id, source_id, draft, actor=OKTA, at=now(), because="push")).person_id

    def switches_off(self, source_id: str, person_id: str) -> None:
        """The directory says `active: false`."""
        from app.directory.tables import Record

        organization_id = self.organization_id

        def act(session: Session) -> None:
            record = session.scalars(select(Record).where(Record.person_id == person_id, Record.source_id == source_id)).one()
            draft = RecordDraft(external_id=record.external_id, user_name=record.user_name, active=False, document=record.document)
            change_record(session, organization_id, source_id, record.id, draft, actor=OKTA, at=now(), because="push")

        self.acts(act)

    def connects_chat(self) -> str:
        """The id of a connected workspace named chat."""
        added = self.asks("workspace", "add", "matrix", "chat", "--url", "https://chat.example", "--token-file", self.file("token", "s3cret\n"))
        return str(added["id"])


@pytest.fixture
def heard_at_a_terminal() -> Iterator[None]:
    """What is started hears that its terminal was closed, also where whoever runs the tests is to outlive theirs (`nohup`)."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def bare_desk(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A desk before `doorlist init`."""
    chat = Chat()
    monkeypatch.setitem(registry.TARGETS, "matrix", lambda settings: ChatTarget(chat, settings))
    environment = {"DATABASE_URL": database_url, "DOORLIST_HOME": str(tmp_path / "home")}
    app = create_late(from_environment(environment))
    yield Desk(environment=environment, folder=tmp_path, chat=chat, app=app)
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def desk(bare_desk: Desk) -> Desk:
    """A desk with an organisation named Acme and nothing else."""
    with bare_desk.app.app_context():
        migrated()
    assert bare_desk.types("init", "--organization", "Acme").exit == 0
    return bare_desk


@pytest.fixture
def pusher(desk: Desk) -> Iterator[Pusher]:
    made = desk.asks("source", "add", "scim", "okta")
    yield Pusher(desk=desk, http=desk.app.test_client(), source_id=made["id"], token=made["token"])
    flush_requests(desk.app)
