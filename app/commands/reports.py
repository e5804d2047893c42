"""Reports: who can get in, who was to leave and how they were shut out, whose accounts are nobody's, who is in no channel, and what does not agree."""

from dataclasses import asdict
from itertools import groupby
from operator import attrgetter
from typing import Final

import click
from sqlalchemy.orm import Session

from app.clock import iso, now
from app.commands.acting import INFORMED, Acting
from app.commands.drifting import drifts
from app.commands.exits import CommandError, Exit
from app.commands.report_forms import Ended, Rows, report
from app.database import one_moment, reading
from app.delivery.orphans import Seen, orphans_of
from app.delivery.workspaces import open_workspace
from app.directory.settings import value_of
from app.directory.tables import Standing
from app.intake import terminations
from app.intake.termination_words import POPULATION, Outcome, Period
from app.intake.terminations import Totals
from app.lifecycle import days
from app.lifecycle.contractor_ends import endings
from app.lifecycle.contradictions import contradictions
from app.lifecycle.days import NoSuchDay
from app.lifecycle.workspaces import workspaces_of
from app.rules.access_review import access, memberships
from app.rules.no_channel import unreached
from app.rules.revisions import current_rules
from connectors.contract import AccountState

_PERSON: Final = attrgetter("person_id")
"""By which reports of several lines for each person are sorted."""


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(reports)


@click.group("report")
def reports() -> None:
    """What an auditor asks for. Nothing is changed; with --csv for a spreadsheet, with --json for a program."""


@report(
    reports, "terminations", may=INFORMED, columns=terminations.COLUMNS,
    shown=("outcome", "userName", "voice", "said_by", "due", "place", "state", "shut_known", "gone", "s_to_gone", "why"),
)  # fmt: skip
@click.option("--from", "since", required=True, metavar="D", help="The first day, such as 2026-10-01, in the organisation's zone.")
@click.option("--to", "until", required=True, metavar="D", help="The last day, all of it.")
def of_terminations(acting: Acting, rows: Rows, since: str, until: str) -> Ended:
    """Everybody who was to leave in a time, and how each place was shut: tied to HR's own calls.

    Which day a termination belongs to is decided by when access was due to end; an end at midnight belongs to the day that
    it ends. Exit 1 where HR's calls and the report do not add up.
    """
    totals = Totals()
    at = now()
    with one_moment() as session:
        period = _period(session, acting, since, until)
        for line in terminations.report(session, acting.organization_id, period, totals, at=at):
            rows.add(line)
    outcomes = {one.value.replace(" ", "_"): totals.outcomes[one] for one in Outcome}
    calls = {
        "calls": totals.calls, "matched": totals.matched, "superseded": totals.superseded, "called_off": totals.called_off, "parked": totals.parked,
    }  # fmt: skip
    if not totals.adds_up:
        raise CommandError(f"{totals.calls} HR calls name a day of the period, and the report has others: {_said(calls)}", more={"hr": calls})
    return Ended(
        fields={
            "from": since, "to": until, "time_zone": _zone(acting), "made": iso(at), "population": totals.population, **outcomes,
            "people": totals.people, "voices": dict(totals.voices), "hr": calls, "slowest_s": totals.slowest,
        },
        notes=_notes(totals, calls),
    )  # fmt: skip


def _period(session: Session, acting: Acting, since: str, until: str) -> Period:
    zone = days.zone_of(value_of(session, acting.organization_id, "time_zone"))
    try:
        period = Period(since=days.start_of(days.read_day(since), zone), until=days.end_of(days.read_day(until), zone))
    except NoSuchDay as error:
        raise click.UsageError(str(error)) from error
    if period.until <= period.since:
        raise click.UsageError(f"--to {until} comes before --from {since}")
    return period


def _zone(acting: Acting) -> str:
    with reading() as session:
        return value_of(session, acting.organization_id, "time_zone")


def _said(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def _notes(totals: Totals, calls: dict[str, int]) -> list[str]:
    parts = " + ".join(f"{totals.outcomes[one]} {one}" for one in POPULATION)
    notes = [f"{totals.population} terminations of {totals.people} people = {parts}.", f"HR: {_said(calls)}."]
    beside = {one.value: totals.outcomes[one] for one in Outcome if one not in POPULATION and totals.outcomes[one]}
    if beside:
        notes.append(f"Beside them: {_said(beside)}.")
    if totals.slowest is not None:
        notes.append(f"The slowest removal took {totals.slowest} s, from when it was both due and heard of.")
    return notes


@report(
    reports, "orphans", may=INFORMED,
    columns=("workspace", "behind", "account", "state", "display_name", "emails", "person_id", "user_name", "like", "why"),
    shown=("workspace", "behind", "account", "state", "display_name", "user_name", "like", "why"),
)  # fmt: skip
def of_orphans(acting: Acting, rows: Rows) -> Ended:
    """Accounts that nobody stands behind, in each workspace as it is now: local ones, bots, and those of people who have no access."""
    with reading() as session:
        workspaces = workspaces_of(session, acting.organization_id)
    found: list[Seen] = []
    for workspace in workspaces:
        found.append(Seen(name=workspace.name))
        for orphan in orphans_of(acting.organization_id, workspace, found[-1], opens=open_workspace):
            rows.add(vars(orphan) | {"behind": orphan.behind.value})
    failed = [one for one in found if one.error is not None]
    notes = [f"{one.name}: {one.orphans} of {one.accounts} accounts; {one.shut} are shut." for one in found if one.error is None]
    notes += [f"{one.name} could not be read: what is there is unknown." for one in failed]
    return Ended(
        fields={"workspaces": [asdict(one) for one in found], "unknown": [one.name for one in failed]},
        notes=notes or ["There is no workspace yet: doorlist workspace add matrix NAME --url URL --token-file FILE"], exit=_exit(len(found), len(failed)),
    )  # fmt: skip


def _exit(asked: int, failed: int) -> Exit:
    return Exit.DONE if not failed else Exit.PARTLY if failed < asked else Exit.UNREACHABLE


@report(
    reports, "contractors", may=INFORMED,
    columns=(
        "person_id", "user_name", "display_name", "standing", "kind", "state", "sponsor", "sponsor_standing", "starts_at", "ends_at", "last_day",
        "days_left", "attested_at", "attested_by",
    ),
    shown=("user_name", "kind", "state", "sponsor", "sponsor_standing", "last_day", "days_left", "standing"),
)  # fmt: skip
def of_contractors(acting: Acting, rows: Rows) -> Ended:
    """People who are no employees, those first who end first, with who answers for them and how many days are left."""
    states: dict[str, int] = {"open": 0, "lapsed": 0, "incomplete": 0}
    with one_moment() as session:
        for one in endings(session, acting.organization_id, at=now()):
            states[one.state] += 1
            rows.add(vars(one) | {name: iso(getattr(one, name)) for name in ("starts_at", "ends_at", "attested_at")})
    return Ended(fields={"count": rows.count, **states}, notes=[f"{rows.count} people who are no employees: {_said(states)}."])


@report(
    reports, "drift", may=INFORMED, columns=("kind", "place", "sign", "channel", "person", "at", "looked", "alive", "why"),
    shown=("kind", "place", "sign", "channel", "person", "at", "looked", "alive", "why"),
)  # fmt: skip
def of_drift(acting: Acting, rows: Rows) -> Ended:
    """What the last sweep found in each place, and how each workspace differs now from what should be there."""
    with reading() as session:
        workspaces = workspaces_of(session, acting.organization_id)
    told = drifts(acting.organization_id, workspaces, rows.add)
    notes = [f"{one['name']}: {one['add']} to add, {one['remove']} to remove." for one in told if one.get("error") is None]
    notes += [f"{one['name']} could not be read: how it differs is unknown." for one in told if one.get("error") is not None]
    return Ended(
        fields={"workspaces": told}, notes=notes, exit=_exit(len(told), sum(one.get("error") is not None for one in told))
    )


@report(
    reports, "no-channel", may=INFORMED, columns=("person_id", "user_name", "display_name", "department", "still_in", "why"),
    shown=("user_name", "display_name", "department", "still_in", "why"),
)  # fmt: skip
def of_no_channel(acting: Acting, rows: Rows) -> Ended:
    """People who have access and whom no rule puts into any channel, with why each rule leaves them out."""
    with one_moment() as session:
        rules = current_rules(session, acting.organization_id)
        for one in unreached(session, acting.organization_id, rules):
            rows.add(vars(one))
    return Ended(fields={"count": rows.count, "rules": len(rules)}, notes=[f"{rows.count} people are in no channel by {len(rules)} rules."])


@report(
    reports, "contradictions", may=INFORMED,
    columns=("person_id", "user_name", "standing", "about", "voice", "said_by", "says", "since", "counts"),
    shown=("user_name", "standing", "about", "voice", "said_by", "says", "since", "counts"),
)  # fmt: skip
def of_contradictions(acting: Acting, rows: Rows) -> Ended:
    """People of whom voices or sources do not say the same now: who says what, since when, and what counts."""
    people: int = 0
    with one_moment() as session:
        for _, lines in groupby(contradictions(session, acting.organization_id, at=now()), key=_PERSON):
            people += 1
            for one in lines:
                rows.add(vars(one) | {"since": iso(one.since)})
    return Ended(fields={"people": people}, notes=[f"Of {people} people, not everybody says the same."])


@report(
    reports, "access", may=INFORMED,
    columns=(
        "person_id", "user_name", "display_name", "email", "employee_number", "user_type", "department", "manager", "standing", "vouched_by",
        "access_until", "role", "last_signed_in", "workspace", "account", "account_state", "channels",
    ),
    shown=("user_name", "department", "manager", "standing", "vouched_by", "access_until", "role", "last_signed_in", "workspace", "account_state", "channels"),
)  # fmt: skip
def of_access(acting: Acting, rows: Rows) -> Ended:
    """Everybody who can get in, on whose word, and into which workspaces: what an access review goes through."""
    counts = {"people": 0, "accounts": 0, "without_access": 0}
    with one_moment() as session:
        for _, lines in groupby(access(session, acting.organization_id), key=_PERSON):
            places = list(lines)
            counts["people"] += 1
            counts["without_access"] += places[0].standing != Standing.ACTIVE
            counts["accounts"] += sum(one.account_state == AccountState.ACTIVE for one in places)
            for one in places:
                instants = {"access_until": iso(one.access_until), "last_signed_in": iso(one.last_signed_in)}
                rows.add(vars(one) | instants | {"vouched_by": list(one.vouched_by)})
    notes = [f"{counts['people']} people, with {counts['accounts']} accounts that let them in."]
    if counts["without_access"]:
        notes.append(f"Of these, {counts['without_access']} have no access any more, and an account that was not shown to be shut.")
    return Ended(fields=counts, notes=notes)


@report(
    reports, "memberships", may=INFORMED,
    columns=(
        "person_id", "user_name", "display_name", "department", "standing", "workspace", "account", "channel", "why", "since", "kept_until",
    ),
    shown=("user_name", "department", "standing", "workspace", "channel", "why", "since", "kept_until"),
)  # fmt: skip
def of_memberships(acting: Acting, rows: Rows) -> Ended:
    """The same people in each channel that they are in, with why and since when."""
    people: int = 0
    with one_moment() as session:
        for _, lines in groupby(memberships(session, acting.organization_id), key=_PERSON):
            people += 1
            for one in lines:
                rows.add(vars(one) | {"since": iso(one.since), "kept_until": iso(one.kept_until)})
    return Ended(fields={"people": people, "count": rows.count}, notes=[f"{people} people are in channels, {rows.count} times."])
