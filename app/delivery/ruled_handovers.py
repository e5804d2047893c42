"""Handing over channels of the rules: one that would be without an owner has whoever takes over, until the rules name somebody again."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.actors import CLOCK, Actor
from app.database import in_transaction, reading
from app.directory.tables import Person, Standing
from app.lifecycle import handover
from app.lifecycle.handover_tables import BY_THE_RULES, HandedChannel, Handover, HandoverPlace, Outcome
from app.revocation import departures
from app.revocation.tables import Departure
from app.rules import stays
from app.rules.channels import inhabited
from app.rules.file import Rule
from app.rules.revisions import current_rules
from app.rules.shapes import led_by, ownerless, shapes
from app.rules.stay_tables import Stay, Why
from app.rules.tables import Channel
from connectors.contract import Arrival


def hand_over_ruled(session: Session, person: Person, rules: Sequence[Rule], *, at: datetime) -> None:
    """Give the channels of the rules that would be without an owner to whoever takes over, once for each departure.

    A channel that others own, or that has nobody in it, needs no heir; one that came to be only afterwards gets none.
    """
    departure = departures.current(session, person.organization_id, person.id)
    if departure is None or handover.place_of(session, person.organization_id, departure.id, BY_THE_RULES) is not None:
        return
    led = _led(session, person, departure, rules, reached_by=departure.decided_at)
    if not led:
        return
    begun = handover.begin(session, departure, person, at=at)
    if begun is None:
        return
    session.add(
        HandoverPlace(
            organization_id=person.organization_id, departure_id=departure.id, workspace_id=BY_THE_RULES, begun_at=at, upto="", attempts=0, done_at=at
        )
    )
    settle_ruled(session, begun, person, rules, led, at=at)


def settle_ruled(session: Session, begun: Handover, person: Person, rules: Sequence[Rule], led: Iterable[Channel], *, at: datetime) -> None:
    """Decide what becomes of each of these channels, and write it down."""
    heir = handover.heir_now(session, begun, at=at)
    channels = {one.id: one for one in led}
    shaped = shapes(session, begun.organization_id, rules, channels)
    # Their states are settled as each of their people is looked at, which may be after this leaver.
    peopled = inhabited(session, begun.organization_id, rules, channels)
    for channel_id, channel in sorted(channels.items(), key=lambda one: one[1].name):
        owners = shaped[channel_id].owners if channel_id in shaped else frozenset()
        line = HandedChannel(
            organization_id=begun.organization_id, departure_id=begun.departure_id, workspace_id=BY_THE_RULES, channel=channel_id, name=channel.name,
            # Said anew as a whole, where it stands there already.
            to_person_id=None, arrival=None, because=None, at=at,
        )  # fmt: skip
        if owners:
            line.outcome, line.because = Outcome.OTHERS_OWN_IT, ", ".join(sorted(_names(session, begun.organization_id, owners)))
        elif channel_id not in peopled:
            line.outcome = Outcome.NOBODY_IN_IT
        elif heir is None:
            line.outcome, line.because = Outcome.COULD_NOT, begun.how
        else:
            reason = f"{person.user_name}, who owned it, has left"
            stays.hand_over(session, channel, heir, departure_id=begun.departure_id, reason=reason, actor=CLOCK, at=at)
            line.outcome, line.to_person_id, line.arrival = Outcome.HANDED_OVER, heir.id, Arrival.JOINED
        session.merge(line)
    session.flush()


def _led(
    session: Session, person: Person, departure: Departure, rules: Sequence[Rule], *, reached_by: datetime | None = None
) -> list[Channel]:
    # Whoever looks at what is over may have been here first, and ended what was handed over to them.
    ids = led_by(session, person, rules, handed_since=departure.decided_at, reached_by=reached_by)
    if not ids:
        return []
    found = select(Channel).where(Channel.organization_id == person.organization_id, Channel.id.in_(sorted(ids)), Channel.space.is_(False))
    return list(session.scalars(found))


def _names(session: Session, organization_id: str, people: Iterable[str]) -> list[str]:
    return list(session.scalars(select(Person.user_name).where(Person.organization_id == organization_id, Person.id.in_(sorted(people)))))


def follow(organization_id: str, *, at: datetime) -> None:
    """What the clock does each minute. The database's one pen is asked for only where something is over."""
    with reading() as session:
        over = _superseded(session, organization_id, _handed_over(organization_id))
    if over:
        in_transaction(lambda session: end_superseded(session, organization_id, at=at))


def end_superseded(session: Session, organization_id: str, *, at: datetime) -> None:
    """End what was handed over and has an owner by the rules again, or needs none any more, as one with nobody in it. Twice does it once."""
    for row in _superseded(session, organization_id, _handed_over(organization_id).order_by(Stay.id).with_for_update()):
        stays.end(session, row, why="the rules give it an owner, ask for none, or put nobody in it", actor=CLOCK, at=at)


def _handed_over(organization_id: str) -> Select[Stay]:
    return select(Stay).where(Stay.organization_id == organization_id, Stay.why == Why.HANDOVER, Stay.ended_at.is_(None))


def _superseded(session: Session, organization_id: str, query: Select[Stay]) -> list[Stay]:
    rows = session.scalars(query).all()
    if not rows:
        return []
    rules = current_rules(session, organization_id)
    without = ownerless(session, organization_id, rules, {row.channel_id for row in rows})
    needed = inhabited(session, organization_id, rules, without)
    return [row for row in rows if row.channel_id not in needed]


def give_to(session: Session, person: Person, heir: Person, *, actor: Actor, at: datetime) -> Handover | None:
    """Somebody else takes over the channels of the rules from somebody who has left; None of somebody who has not. Raises NoHeir.

    Channels of a workspace that are not ours stay with whom they went to: nobody can hand them on any more.
    """
    departure = departures.current(session, person.organization_id, person.id)
    if departure is None or departure.means != Standing.DEPARTED:
        return None
    handover.check_heir(heir, person, at=at)
    begun = handover.begun(session, departure)
    if begun is None:
        handover.name_heir(session, person, heir, actor=actor, at=at)
        begun = handover.begin(session, departure, person, at=at)
        assert begun is not None
    else:
        handover.give_to(session, begun, heir, how=f"named by {actor}", actor=actor, at=at)
    mine = select(Stay).where(Stay.organization_id == person.organization_id, Stay.departure_id == departure.id, Stay.ended_at.is_(None))
    for row in session.scalars(mine.with_for_update()).all():
        stays.end(session, row, why=f"given to {heir.user_name}", actor=actor, at=at)
    rules = current_rules(session, person.organization_id)
    settle_ruled(session, begun, person, rules, _led(session, person, departure, rules), at=at)
    return begun
