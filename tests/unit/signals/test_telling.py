"""What those who follow us are told: when somebody leaves, is signed out, comes back; and how we know that they took it."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.access.closed import look_again, shut_doors
from app.actors import CLOCK
from app.clock import now
from app.database import in_transaction, new_id, reading
from app.delivery.signal_streams import keep_up, note_return
from app.lifecycle.signing_out import sign_out_everywhere
from app.revocation import streams
from app.revocation.alarms import open_alarms
from app.revocation.departures import current
from app.revocation.stream_tables import StreamEvent
from app.revocation.tables import Grade
from app.signals.receivers import SubjectFormat
from tests.unit.signals.listening import PUSH, deliver, let_time_pass, listens, proof_of
from tests.unit.signals.stage import PUBLIC_URL, Provider, Stage, iss_sub

pytestmark = pytest.mark.slow


def sign_out(stage: Stage, person_id: str) -> None:
    in_transaction(lambda session: sign_out_everywhere(session, stage.organization_id, person_id, actor=CLOCK, at=now(), because="test"))


def test_a_departure_is_pushed_and_proved_as_far_as_can_be_known(stage: Stage) -> None:
    listener = listens(stage, audience="https://chat.example")
    stream_id = listener.sets_up(delivery=PUSH)
    mara = stage.joins("mara")

    stage.company.says(mara, active=False, at=now())
    deliver(stage)

    assert listener.events() == ["account-disabled", "session-revoked"]
    with reading() as session:
        departure = current(session, stage.organization_id, mara.person_id)
    assert departure is not None
    for one in listener.taken:
        assert (one["iss"], one["aud"], one["sub_id"]) == (PUBLIC_URL, "https://chat.example", iss_sub(PUBLIC_URL, mara.person_id))
        # One cause, one txn; and what would make it look like another kind of token is not in it.
        assert one["txn"] == departure.id
        assert not {"sub", "exp"} & one.keys()
    revoked = listener.taken[1]["events"][streams.SESSION_REVOKED]
    assert revoked["event_timestamp"] == int(departure.decided_at.timestamp())
    assert revoked["reason_admin"]["en"]
    assert set(listener.shown) == {"Bearer theirs"}
    proof = proof_of(stage, stream_id)
    assert proof is not None and proof.shut_at is not None and proof.gone_at is not None
    assert (proof.shut_grade, proof.closed) == (Grade.CLAIMED, {"events": 2})


def test_being_signed_out_everywhere_is_told_and_opens_no_proof(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up(delivery=PUSH)
    mara = stage.joins("mara")

    for _ in range(2):
        sign_out(stage, mara.person_id)
        deliver(stage)

    assert listener.events() == ["session-revoked", "session-revoked"]
    assert len({one["txn"] for one in listener.taken}) == 2
    assert proof_of(stage, stream_id) is None


def test_whoever_comes_back_is_enabled_again_once(stage: Stage) -> None:
    listener = listens(stage)
    listener.sets_up(delivery=PUSH)
    mara = stage.joins("mara")
    off = stage.company.says(mara, active=False, at=now())
    deliver(stage)
    stage.company.says(off, active=True, at=now())

    for _ in range(2):
        keep_up(clock=now)
        deliver(stage)

    assert listener.events() == ["account-disabled", "session-revoked", "account-enabled"]


def test_whoever_comes_back_is_enabled_with_their_accounts_and_not_at_the_next_tick(stage: Stage) -> None:
    listener = listens(stage)
    listener.sets_up(delivery=PUSH)
    mara = stage.joins("mara")
    off = stage.company.says(mara, active=False, at=now())
    deliver(stage)

    stage.company.says(off, active=True, at=now())
    deliver(stage)

    assert listener.events()[-1] == "account-enabled"
    with reading() as session:
        assert list(streams.returned(session)) == []


def test_while_a_restored_database_is_closed_nobody_is_said_to_be_back(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up()
    mara = stage.joins("mara")
    off = stage.company.says(mara, active=False, at=now())
    deliver(stage)
    listener.fetches(stream_id, ack=list(listener.fetches(stream_id)))
    stage.company.says(off, active=True, at=now())
    in_transaction(lambda session: shut_doors(session, because="test", at=now()))
    look_again()

    keep_up(clock=now)
    in_transaction(lambda session: note_return(session, stage.organization_id, mara.person_id, at=now()))

    assert listener.fetches(stream_id) == {}


def test_looking_twice_tells_nothing_twice(stage: Stage) -> None:
    listener = listens(stage)
    listener.sets_up(delivery=PUSH)
    mara = stage.joins("mara")
    stage.company.says(mara, active=False, at=now())
    deliver(stage)

    stage.looks_again(mara)
    deliver(stage)

    assert len(listener.taken) == 2


def test_a_receiver_that_polls_gets_everything_until_it_acknowledges(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up()
    mara = stage.joins("mara")
    stage.company.says(mara, active=False, at=now())
    deliver(stage)

    first = listener.fetches(stream_id, maxEvents=1)
    again = listener.fetches(stream_id)
    open_proof = proof_of(stage, stream_id)
    after = listener.fetches(stream_id, ack=list(again))

    assert len(first) == 1 and set(first) < set(again)
    assert {event.rpartition("/")[2] for one in again.values() for event in one["events"]} == {"account-disabled", "session-revoked"}
    assert open_proof is not None and open_proof.shut_at is None
    assert after == {}
    proof = proof_of(stage, stream_id)
    assert proof is not None and proof.shut_grade == Grade.CLAIMED


def test_what_a_receiver_refuses_leaves_the_proof_open_and_says_why(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up()
    mara = stage.joins("mara")
    stage.company.says(mara, active=False, at=now())
    deliver(stage)
    jtis = list(listener.fetches(stream_id))

    left = listener.fetches(stream_id, setErrs={jti: {"err": "invalid_key", "description": "?"} for jti in jtis})

    proof = proof_of(stage, stream_id)
    assert left == {}
    assert proof is not None and proof.shut_at is None
    assert proof.last_error is not None and "invalid_key" in proof.last_error


def test_a_push_that_is_refused_is_tried_again_before_it_is_believed(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up(delivery=PUSH)
    mara = stage.joins("mara")
    listener.answers = (400, '{"err": "invalid_key", "description": "old keys"}')
    stage.company.says(mara, active=False, at=now())
    deliver(stage)
    let_time_pass(stage)
    listener.answers = (202, "")

    deliver(stage)

    assert listener.events() == ["account-disabled", "session-revoked"]
    proof = proof_of(stage, stream_id)
    assert proof is not None and proof.shut_at is not None


def test_a_push_that_is_refused_again_and_again_is_given_up_and_shown(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up(delivery=PUSH)
    mara = stage.joins("mara")
    listener.answers = (400, '{"err": "access_denied"}')
    stage.company.says(mara, active=False, at=now())

    for _ in range(8):
        deliver(stage)
        let_time_pass(stage)

    proof = proof_of(stage, stream_id)
    assert proof is not None and proof.shut_at is None
    assert proof.last_error is not None and "access_denied" in proof.last_error
    calls = listener.calls
    deliver(stage)
    assert listener.calls == calls


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_a_receiver_that_does_not_take_it_loses_nothing_and_holds_nobody_up(stage: Stage, status: int) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up(delivery=PUSH)
    people = [stage.joins(f"p{number}") for number in range(4)]
    listener.answers = (status, "")

    for one in people:
        stage.company.says(one, active=False, at=now())
    moment = now()
    deliver(stage, clock=lambda: moment)
    tried = listener.calls
    listener.answers = (202, "")
    for _ in range(4):
        let_time_pass(stage)
        deliver(stage)

    # Three more leavers do not mean three more time-outs.
    assert tried == 1
    assert sorted(listener.events()) == ["account-disabled"] * 4 + ["session-revoked"] * 4
    proof = proof_of(stage, stream_id)
    assert proof is not None and proof.shut_at is not None


def test_what_happens_while_a_stream_is_paused_is_told_when_it_goes_on(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up(delivery=PUSH)
    mara = stage.joins("mara")
    listener.asks("POST", "/status", {"stream_id": stream_id, "status": "paused", "reason": "moving"})
    stage.company.says(mara, active=False, at=now())
    deliver(stage)
    quiet = listener.events()

    listener.asks("POST", "/status", {"stream_id": stream_id, "status": "enabled"})
    deliver(stage)

    assert (quiet, listener.events()) == ([], ["account-disabled", "session-revoked"])


def test_what_happens_while_a_stream_is_disabled_is_never_told(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up(delivery=PUSH)
    mara = stage.joins("mara")
    listener.asks("POST", "/status", {"stream_id": stream_id, "status": "disabled"})
    stage.company.says(mara, active=False, at=now())
    deliver(stage)

    listener.asks("POST", "/status", {"stream_id": stream_id, "status": "enabled"})
    deliver(stage)

    assert listener.events() == []


def test_only_what_was_asked_for_is_told(stage: Stage) -> None:
    listener = listens(stage)
    listener.sets_up(delivery=PUSH, events_requested=[streams.SESSION_REVOKED, "https://elsewhere.example/event"])
    mara = stage.joins("mara")

    stage.company.says(mara, active=False, at=now())
    deliver(stage)

    assert listener.events() == ["session-revoked"]


def test_a_subject_that_was_removed_is_not_told_of_until_it_is_added_again(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up(delivery=PUSH)
    mara = stage.joins("mara")
    said = {"stream_id": stream_id, "subject": iss_sub(PUBLIC_URL, mara.person_id)}
    listener.asks("POST", "/remove-subject", said)
    stage.company.says(mara, active=False, at=now())
    deliver(stage)
    quiet = listener.events()

    listener.asks("POST", "/add-subject", said)
    deliver(stage)

    assert (quiet, listener.events()) == ([], ["account-disabled", "session-revoked"])


def test_people_are_named_by_mail_where_the_receiver_knows_them_so(stage: Stage) -> None:
    listener = listens(stage, subject_format=SubjectFormat.EMAIL)
    listener.sets_up(delivery=PUSH)
    mara = stage.joins("mara")

    sign_out(stage, mara.person_id)
    deliver(stage)

    assert listener.taken[0]["sub_id"] == {"format": "email", "email": "mara@clinic.example"}


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA"])
def test_events_are_signed_as_was_agreed_with_the_receiver(stage: Stage, algorithm: str) -> None:
    listener = listens(stage, algorithm=algorithm)
    listener.sets_up(delivery=PUSH)

    sign_out(stage, stage.joins("mara").person_id)
    deliver(stage)

    assert listener.events() == ["session-revoked"]


def test_a_receiver_that_takes_nothing_loses_its_stream_and_somebody_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_WAITING", 3)
    listener = listens(stage)
    stream_id = listener.sets_up()
    for number in range(4):
        sign_out(stage, stage.joins(f"p{number}").person_id)
    deliver(stage)

    keep_up(clock=now)

    status = listener.asks("GET", "/status", stream_id=stream_id).get_json()
    assert status["status"] == "disabled" and status["reason"]
    [said] = listener.fetches(stream_id).values()
    assert said["events"][streams.STREAM_UPDATED]["status"] == "disabled"
    with reading() as session:
        assert [one.kind for one in open_alarms(session, stage.organization_id)] == ["stream_silent"]
        left = session.scalars(select(StreamEvent).where(StreamEvent.settled_at.is_(None))).all()
    assert len(left) == 1


def test_a_stream_that_was_ended_keeps_no_departure_open(stage: Stage) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up()
    stage.company.says(stage.joins("mara"), active=False, at=now())
    deliver(stage)
    before = proof_of(stage, stream_id)

    listener.asks("DELETE", "", stream_id=stream_id)

    assert before is not None and before.shut_at is None
    assert proof_of(stage, stream_id) is None


@pytest.mark.parametrize("stopped", ["ended", "disabled"])
def test_whoever_is_back_is_looked_for_no_more_where_their_stream_is_told_nothing(stage: Stage, stopped: str) -> None:
    listener = listens(stage)
    stream_id = listener.sets_up()
    off = stage.company.says(stage.joins("mara"), active=False, at=now())
    deliver(stage)
    if stopped == "ended":
        listener.asks("DELETE", "", stream_id=stream_id)
    else:
        listener.asks("POST", "/status", {"stream_id": stream_id, "status": "disabled"})

    stage.company.says(off, active=True, at=now())
    deliver(stage)

    with reading() as session:
        assert list(streams.returned(session)) == []


def test_what_we_send_is_what_we_would_take_from_others(stage: Stage) -> None:
    ours = Provider(issuer=PUBLIC_URL, jwks_uri=f"https://own.example/{new_id()}/jwks")
    listener = listens(stage, audience="https://beside.example")
    listener.sets_up(delivery=PUSH)
    # The same people, by our ids, in an organisation that hears the first one.
    hearing = stage.hears(ours, audience="https://beside.example")
    mara = stage.joins("mara")
    stage.outside.replace("GET", ours.jwks_uri, json=stage.http.get("/jwks").get_json())

    sign_out(stage, mara.person_id)
    deliver(stage)
    epoch = stage.epoch(mara)
    taken = hearing.push(listener.raw[0])

    assert taken.status_code == 202, taken.text
    assert (hearing.last().person_id, stage.epoch(mara)) == (mara.person_id, epoch + 1)


def test_streams_are_called_by_their_receivers_names(stage: Stage) -> None:
    stream_id = listens(stage, "chat").sets_up()

    with reading() as session:
        assert streams.names_of(session, stage.organization_id) == {stream_id: "chat"}


def test_other_organisations_hear_nothing(stage: Stage) -> None:
    listener = listens(stage)
    listener.sets_up(delivery=PUSH)
    beside = stage.beside()

    beside.company.says(beside.joins("mara"), active=False, at=now())
    deliver(stage)

    assert listener.calls == 0
