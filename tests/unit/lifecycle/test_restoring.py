"""After a backup was restored: nothing issued before is good, nothing is given, and what opens it again is on record."""

from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.access import factors, parties
from app.access.closed import is_closed, look_again, shut_doors
from app.access.connection_tables import Connection
from app.access.factor_tables import CodePurpose
from app.access.parties import PartyDraft
from app.access.session_tables import Device, Grant, IssuedToken, PartyKind, RelyingParty, WebSession
from app.access.sessions import Authenticated, Limits, check, start
from app.actors import Actor, ActorKind
from app.clock import now
from app.database import in_transaction, new_id, reading
from app.delivery.permits import permit_for
from app.delivery.precedence import Precedence
from app.directory.tables import Person, Standing
from app.journal.tables import Entry, Lane, Organization, Subject, Work
from app.journal.work import LEASE, Claim
from app.lifecycle import conditions, just_in_time, restoring
from app.lifecycle.restoring import LEAP, Counted, epoch_floor
from app.revocation.alarm_kinds import AlarmKind
from app.revocation.alarms import open_alarms
from app.revocation.stream_tables import Receiver, Transmitter
from app.settings import Settings
from app.sso import break_glass
from connectors.contract import AccountState, Permit, Withdrawn
from tests.company import ADMIN, Company, new_company
from tests.unit.delivery.crew import crew, employ, make_everything_due, settle
from tests.workspace import Workspace

HOST = Actor(kind=ActorKind.HOST, name="root")


def ends_everything(at: datetime | None = None) -> list[restoring.Ended]:
    ended = in_transaction(lambda session: restoring.end_everything(session, actor=HOST, because="a backup", at=at or now()))
    look_again()
    return ended


def opens(app: Flask) -> None:
    settings: Settings = app.config["DOORLIST"]
    in_transaction(lambda session: restoring.open_again(session, settings, actor=HOST, because="the sources were read again", at=now()))
    look_again()


def epoch(company: Company, person_id: str) -> int:
    with reading() as session:
        return session.get_one(Person, (company.organization_id, person_id)).access_epoch


def signs_in(company: Company, person_id: str) -> str:
    """A session; returns its cookie."""

    def act(session: Session) -> str:
        person = session.get_one(Person, (company.organization_id, person_id))
        return start(session, person, Authenticated(connection_id=None, at=now()), limits=Limits(), agent="", at=now())[1]

    return in_transaction(act)


def is_let_in(cookie: str) -> bool:
    with reading() as session:
        return check(session, cookie, at=now()) is not None


def holds(company: Company, person_id: str) -> None:
    """A device and a token of today's epoch."""
    mine = {"organization_id": company.organization_id, "person_id": person_id, "epoch": epoch(company, person_id)}

    def act(session: Session) -> None:
        session.add(Device(id=new_id(), name="phone", enrolled_at=now(), seen_at=now(), **mine))
        session.add(
            IssuedToken(digest=new_id(), kind="access", grant_id="g", client_id="c", scope="", created_at=now(), expires_at=now() + timedelta(1), **mine)
        )

    in_transaction(act)


def gives_codes(session: Session, company: Company, person_id: str) -> list[str]:
    """A break-glass account: a code to set a factor up with, and two of the envelope."""
    set_up = break_glass.add(session, company.organization_id, person_id, actor=ADMIN, at=now())[1]
    return [set_up, *factors.give_codes(session, company.organization_id, person_id, purpose=CodePurpose.SIGN_IN, count=2, at=now())]


def organization_name(company: Company) -> str:
    with reading() as session:
        return session.get_one(Organization, company.organization_id).name


def test_nothing_that_was_issued_before_is_good_whoever_held_it(installed: Flask) -> None:
    company, neighbour = new_company(), new_company()
    people = [(one, one.joins("ada@x.example", "E-1").person_id) for one in (company, neighbour)]
    cookies = [signs_in(*one) for one in people]
    for one in people:
        holds(*one)
    assert all(map(is_let_in, cookies))

    ended = ends_everything()

    assert not any(map(is_let_in, cookies))
    assert sorted((one.people, one.sessions, one.tokens, one.devices) for one in ended) == [(1, 1, 1, 1)] * 2
    with reading() as session:
        for held in (WebSession, IssuedToken, Device):
            assert session.scalar(select(func.count()).select_from(held).where(held.ended_at.is_(None))) == 0


def test_a_cookie_of_after_the_backup_is_refused_however_many_epochs_were_lost(installed: Flask) -> None:
    """Somebody signed in anew many times after the backup; the restored rows know none of it. Their cookie must not fit a later epoch."""
    company = new_company()
    ada = company.joins("ada@x.example", "E-1").person_id
    lost = 5000

    ends_everything()

    # Whatever epoch a lost cookie carried, it is behind, and stays so for as long as epochs move by one.
    assert epoch(company, ada) > 1 + lost


def test_epochs_leap_past_all_that_time_allows_and_twice_is_no_less(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1").person_id
    at = now()

    ends_everything(at)
    first = epoch(company, ada)
    ends_everything(at)

    assert first == epoch_floor(at) > 200_000_000
    assert epoch(company, ada) == first + LEAP
    assert epoch_floor(datetime(2088, 1, 1, tzinfo=at.tzinfo)) < 2**31


def test_a_clock_that_is_wrong_still_moves_everybody_on(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1").person_id

    ends_everything(datetime(1999, 1, 1, tzinfo=now().tzinfo))

    assert epoch(company, ada) == 1 + LEAP


def test_one_entry_for_all_people_of_an_organisation(installed: Flask) -> None:
    company = new_company()
    for number in range(5):
        company.joins(f"p{number}@x.example", f"E-{number}")

    ends_everything()

    with reading() as session:
        entries = session.scalars(select(Entry.id).where(Entry.organization_id == company.organization_id, Entry.verb == "database restored")).all()
        numbers = session.scalars(select(Person.journal_id).where(Person.organization_id == company.organization_id).distinct()).all()
    assert len(entries) == 1 and list(numbers) == list(entries)


def test_while_it_is_closed_nobody_gets_an_account_and_leavers_are_shut_out(installed: Flask) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada = company.joins("ada@x.example", "E-1")
    settle(installed, workspace)
    ends_everything()
    company.joins("bob@x.example", "E-2", at=now())
    crew(installed, workspace).run_until_idle()
    with reading() as session:
        claimed = session.scalars(select(Work.claimed_at).where(Work.lane == Lane.SYNC)).all()
    assert claimed and not any(claimed), "what is not given anyway is not begun again and again"
    company.says(ada, active=False, at=now())

    for _ in range(20):
        crew(installed, workspace).run_until_idle()
        make_everything_due()

    assert [account.state for account in workspace.accounts.values()] == [AccountState.DEACTIVATED]
    opens(installed)
    settle(installed, workspace)
    assert {account.state for account in workspace.accounts.values()} == {AccountState.DEACTIVATED, AccountState.ACTIVE}


def test_a_gift_that_was_under_way_is_withdrawn_once_it_is_closed(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    claim = Claim(
        organization_id=company.organization_id, workspace_id="chat", subject=Subject.ACCOUNT, subject_id=ada.person_id, lane=Lane.SYNC, generation=1,
        attempts=0, claimed_by="me", claimed_at=now(), lease_until=now() + LEASE, due_at=now(),
    )  # fmt: skip

    def permit() -> Permit:
        return permit_for(claim, epoch=epoch(company, ada.person_id), clock=now, precedence=Precedence())

    permit()()
    in_transaction(lambda session: shut_doors(session, because="a drill", at=now()))
    look_again()

    with pytest.raises(Withdrawn, match="a drill"):
        permit()()


def test_people_are_told_and_told_no_more_once_it_is_open(installed: Flask) -> None:
    company = new_company()

    def kinds() -> list[str]:
        with reading() as session:
            return [one.kind for one in open_alarms(session, company.organization_id)]

    ends_everything()
    assert kinds() == [AlarmKind.DATABASE_RESTORED]
    with reading() as session:
        assert is_closed(session)

    opens(installed)

    assert kinds() == []
    with reading() as session:
        assert not is_closed(session)
        verbs = session.scalars(select(Entry.verb).where(Entry.organization_id == company.organization_id).order_by(Entry.id.desc()).limit(2)).all()
    assert verbs == ["opened", "database restored"]


def test_relying_parties_are_told_that_their_sessions_are_over(installed: Flask) -> None:
    company = new_company()
    ada, bob = (company.joins(f"{name}@x.example", f"E-{name}").person_id for name in ("ada", "bob"))

    def grant(session: Session) -> None:
        session.add(
            Grant(
                organization_id=company.organization_id, id="g", person_id=ada, client_id="c", epoch=1, scope="openid", sid="s", authenticated_at=now(),
                created_at=now(), expires_at=now() + timedelta(days=1),
            )
        )  # fmt: skip

    in_transaction(grant)
    ends_everything()

    with reading() as session:
        told = session.scalars(select(Work.subject_id).where(Work.subject == Subject.ACCESS, Work.lane == Lane.DEPARTURES)).all()
    assert list(told) == [ada] and bob not in told


def test_no_one_time_code_of_then_is_good_since_it_may_have_been_used_after_the_backup(installed: Flask) -> None:
    company, neighbour = new_company(), new_company()

    def good() -> int:
        with reading() as session:
            found = [factors.find_code(session, code, purpose=purpose, at=now()) for code in codes for purpose in CodePurpose]
        return len([one for one in found if one is not None])

    people = [(one, one.joins("ada@x.example", "E-1").person_id) for one in (company, neighbour)]
    codes = [code for one in people for code in in_transaction(lambda session, o=one: gives_codes(session, *o))]  # type: ignore[misc]  # defaults bind the loop's values
    assert good() == len(codes) == 6

    ended = ends_everything()

    assert good() == 0
    assert [one.codes for one in ended] == [3, 3]


def test_what_may_have_ended_since_is_listed_and_goes_on(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1").person_id
    name, of = organization_name(company), {"organization_id": company.organization_id}

    def act(session: Session) -> None:
        break_glass.add(session, company.organization_id, ada, actor=ADMIN, at=now())
        for party in (PartyDraft(name="chat", redirect_uris=("https://chat.example/in",)), PartyDraft(name="pusher", kind=PartyKind.GATEWAY)):
            parties.open_party(session, company.organization_id, party, actor=ADMIN, at=now())
        for ended_at in (None, now()):
            session.add(Connection(id=new_id(), kind="oidc", name="Okta", issuer="https://okta.example", created_at=now(), ended_at=ended_at, **of))
        session.add(
            Transmitter(
                id=new_id(), name="Google", issuer="https://g.example", audience="a", jwks_uri="https://g.example/keys", delivery="push",
                verify_every=60, look_again_at=now(), created_at=now(), **of,
            )
        )  # fmt: skip
        session.add(
            Receiver(id=new_id(), name="Slack", audience="b", algorithm="ES256", subject_format="iss_sub", created_at=now(), **of)
        )

    in_transaction(act)
    ends_everything()

    with reading() as session:
        counted = restoring.counted_then(session)
        standing = session.scalar(select(func.count()).select_from(RelyingParty).where(RelyingParty.ended_at.is_(None)))
    assert counted == [
        Counted(organization=name, kind=kind, name=named)
        for kind, named in (
            ("connection", "Okta"), ("application", "chat"), ("gateway", "pusher"), ("signal transmitter", "Google"), ("signal receiver", "Slack"),
            ("break-glass account", "ada@x.example"),
        )
    ]  # fmt: skip
    assert standing == 2


def test_what_a_connection_brought_in_has_nothing_to_say_again_and_is_not_waited_for(installed: Flask) -> None:
    company = new_company()
    in_transaction(lambda session: just_in_time.source_of(session, company.organization_id, new_id(), "Okta", actor=ADMIN, at=now()))

    with reading() as session:
        heard = restoring.heard_since(session, closed_at=now(), last_word=lambda session, organization_id, source_id: None)

    assert [(one.name, one.kind) for one in heard] == [("okta", "scim")]


def test_standing_is_not_touched(installed: Flask) -> None:
    company = new_company()
    ada = company.joins("ada@x.example", "E-1")
    company.says(ada, active=False)

    ends_everything()

    assert company.person(ada).standing == Standing.DEPARTED


@pytest.mark.parametrize("late", [59, 61])
def test_a_departure_that_is_not_shut_in_time_is_an_alarm_for_as_long_as_it_stands(installed: Flask, late: int) -> None:
    workspace = Workspace()
    company, _ = employ(workspace)
    ada = company.joins("ada@x.example", "E-1")
    settle(installed, workspace)
    company.says(ada, active=False, at=now())

    def looks(seconds: float) -> list[str]:
        conditions.look(company.organization_id, at=now() + timedelta(seconds=seconds), overdue_after=timedelta(seconds=60))
        with reading() as session:
            return [one.sentence for one in open_alarms(session, company.organization_id) if one.kind == AlarmKind.DEPARTURE_NOT_SHUT]

    assert looks(late) == (["1 person who has left and could still get into chat."] if late > 60 else [])
    looks(late + 5)
    settle(installed, workspace)
    assert looks(late + 10) == []


def test_the_guard_of_journaled_rows_is_not_gone_round(installed: Flask) -> None:
    company = new_company()
    company.joins("ada@x.example", "E-1")

    with pytest.raises(Exception, match="needs a new journal entry"):
        in_transaction(lambda session: session.execute(update(Person).values(access_epoch=9)))
