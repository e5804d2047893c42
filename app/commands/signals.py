"""Verbs on signals: whose we hear, who hears ours, and what was received."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.keys import ALGORITHMS as OWN_ALGORITHMS
from app.access.keys import Purpose
from app.access.signed_tokens import ALGORITHMS
from app.clock import iso, now
from app.commands.acting import ADMINS, ANYONE, NAME, Acting, text_in, verb
from app.commands.output import Answer, Table
from app.commands.sources import TERM
from app.database import in_transaction, reading
from app.directory.tables import StatementKind
from app.revocation import streams
from app.revocation.stream_tables import Delivery, Outcome, Received, Receiver, Stream, StreamStatus, Transmitter
from app.signals import receivers, transmitters, universal_logout
from app.signals.events import Tolerance
from app.signals.receivers import Scope, SubjectFormat
from app.signals.stream_routes import PATH
from app.signals.transmitter_routes import TOKEN_PATH, WELL_KNOWN
from app.signals.transmitters import PUSH_PATH, Policy
from app.sso import connections

SHOWN = 50
_PRIVATE = click.option("--allow-private", is_flag=True, help="Its addresses are in a network of your own.")


def add_to(doorlist: click.Group) -> None:
    doorlist.add_command(signals)


@click.group()
def signals() -> None:
    """Shared signals: sessions revoked, accounts disabled; what others tell us, and what we tell others."""


@signals.group()
def transmitter() -> None:
    """Whose signals are heard."""


@signals.group()
def receiver() -> None:
    """Who hears our signals."""


@verb(transmitter, "add", may=ADMINS)
@click.argument("name", type=NAME)
@click.option("--issuer", required=True, metavar="URL", help="iss of its events; its metadata are read from there unless --jwks-uri is given.")
@click.option("--jwks-uri", metavar="URL", help="Where its keys are.")
@click.option("--audience", metavar="TEXT", help="aud of its events. Default: the address that it pushes to.")
@click.option("--poll-url", metavar="URL", help="Fetch its events there. Default: it pushes them.")
@click.option("--verification-url", metavar="URL", help="Where it is asked whether the stream is alive.")
@click.option("--stream-id", metavar="ID", help="What it calls the stream.")
@click.option("--authorization-file", type=Path, metavar="FILE", help="The Authorization header for those two, such as: Bearer ...")
@click.option("--algorithm", "algorithms", multiple=True, type=click.Choice(ALGORITHMS), help="May be repeated. Default: all of these.")
@click.option("--tolerate", "tolerated", multiple=True, type=click.Choice([one.value for one in Tolerance]), help="What it does otherwise than the standard; may be repeated.")
@click.option("--alias", "aliases", multiple=True, metavar="URL", help="Another name of the issuer in subjects; may be repeated.")
@click.option("--own-subjects", is_flag=True, help="It may name people only by its own subjects, or by e-mail.")
@click.option("--external-ids", is_flag=True, help="Its subjects are also the externalId of the directory's users.")
@click.option("--tenant", metavar="ID", help="What it calls this organisation.")
@click.option("--wildcards", is_flag=True, help="Let one event sign everybody out.")
@click.option("--disabled-means", type=click.Choice([StatementKind.PAUSES.value, StatementKind.LEAVES.value]), default=StatementKind.PAUSES.value, show_default=True)
@click.option("--verify-every", type=TERM, metavar="TIME", default="15m", show_default=True, help="How often it is asked whether the stream is alive.")
@click.option("--silent-after", type=TERM, metavar="TIME", help="After how long without a word an alarm is raised. Default: three times --verify-every.")
@click.option("--no-authorization", is_flag=True, help="It sends no Authorization header: its signature has to be enough.")
@_PRIVATE
def add_transmitter(acting: Acting, /, name: str, issuer: str, jwks_uri: str | None, authorization_file: Path | None, **given: Any) -> Answer:
    """Hear a transmitter's events, pushed or polled."""
    verification_url = given["verification_url"]
    if jwks_uri is None:
        found = transmitters.discover(issuer, allow_private=given["allow_private"])
        jwks_uri, verification_url = found.jwks_uri, verification_url or (found.verification_url if authorization_file else None)
    draft = transmitters.Draft(
        name=name, issuer=issuer, jwks_uri=jwks_uri, audience=given["audience"], poll_url=given["poll_url"], verification_url=verification_url,
        stream_id=given["stream_id"], authorization=None if authorization_file is None else _header(authorization_file),
        unauthorised_pushes=given["no_authorization"], verify_every=max(given["verify_every"], timedelta(minutes=1)), silent_after=given["silent_after"],
        policy=Policy(
            algorithms=given["algorithms"] or ALGORITHMS, tolerated=frozenset(Tolerance(one) for one in given["tolerated"]),
            aliases=frozenset(given["aliases"]), own_subjects=given["own_subjects"], external_ids=given["external_ids"], tenant=given["tenant"],
            wildcards=given["wildcards"], disabled_means=StatementKind(given["disabled_means"]), allow_private=given["allow_private"],
        ),
    )  # fmt: skip
    row, header = in_transaction(lambda session: transmitters.add(session, acting.settings, acting.organization_id, draft, actor=acting.actor, at=now()))
    fields = {**_transmitter(acting, row), **({} if header is None else {"authorization_header": header})}
    columns = ("id", "audience", "push_url", "authorization_header")
    return Answer(
        schema="signals.transmitter", fields=fields, tables=[Table(columns=columns, rows=[[fields.get(column) for column in columns]])],
        notes=["The header is shown this once."] if header else [],
    )  # fmt: skip


def _header(file: Path) -> str:
    text = text_in(file).strip()
    if not text or not text.isascii() or not text.isprintable():
        raise click.UsageError(f"{file} holds no value of a header")
    # A bare token is meant as a bearer's.
    return text if " " in text else f"Bearer {text}"


@verb(transmitter, "list", may=ANYONE)
def list_transmitters(acting: Acting) -> Answer:
    """Every transmitter, and when it was last heard."""
    with reading() as session:
        rows = [_transmitter(acting, row) for row in transmitters.standing(session, acting.organization_id)]
    columns = ("id", "name", "issuer", "delivery", "heard", "last_error")
    return Answer(
        schema="signals.transmitters", fields={"transmitters": rows},
        tables=[Table(columns=columns, rows=[[row[column] for column in columns] for row in rows])],
    )  # fmt: skip


def _transmitter(acting: Acting, row: Transmitter) -> dict[str, object]:
    push_url = f"{acting.settings.public_url}{PUSH_PATH}{row.id}" if row.delivery == Delivery.PUSH else None
    return {
        "id": row.id, "name": row.name, "issuer": row.issuer, "audience": row.audience, "delivery": row.delivery, "push_url": push_url,
        "poll_url": row.poll_url, "heard": iso(row.heard_at), "asked": iso(row.asked_at), "last_error": row.last_error, "policy": row.settings,
    }  # fmt: skip


@verb(transmitter, "end", may=ADMINS)
@click.argument("name")
def end_transmitter(acting: Acting, name: str) -> Answer:
    """Hear nothing more from a transmitter. What it said stays: doorlist return PERSON gives back what it took."""
    row = in_transaction(lambda session: transmitters.end(session, acting.organization_id, name, actor=acting.actor, at=now()))
    return Answer(schema="signals.transmitter", fields={"id": row.id, "name": row.name, "ended": True}, notes=[f"{row.name} is not heard any more."])


@verb(signals, "received", may=ANYONE)
@click.option("--parked", is_flag=True, help="Only what could not be acted on.")
def list_received(acting: Acting, parked: bool) -> Answer:
    """The latest signals, and what became of each."""
    query = select(Received).where(Received.organization_id == acting.organization_id)
    if parked:
        query = query.where(Received.outcome == Outcome.PARKED)
    with reading() as session:
        found = session.scalars(query.order_by(Received.received_at.desc(), Received.jti).limit(SHOWN)).all()
    rows = [
        {
            "received": iso(one.received_at), "happened": iso(one.happened_at), "sender_id": one.sender_id, "jti": one.jti, "event": one.event,
            "subject": one.subject, "person_id": one.person_id, "outcome": one.outcome, "why": one.why, "sha256": one.sha256,
        }
        for one in found
    ]  # fmt: skip
    columns = ("received", "event", "outcome", "why", "person_id")
    shown = [[one["received"], str(one["event"]).rpartition("/")[2], one["outcome"], one["why"], one["person_id"]] for one in rows]
    return Answer(schema="signals.received", fields={"received": rows}, tables=[Table(columns=columns, rows=shown)])


@verb(signals, "universal-logout", may=ADMINS)
@click.argument("connection")
@click.option("--issuer", metavar="URL", help="iss of its JWTs. Default: the connection's issuer.")
@click.option("--subject", metavar="ID", help="sub of its JWTs: for SAML its appInstanceId. Default: the OpenID Connect client id.")
@click.option("--jwks-uri", metavar="URL", help="Where their keys are, if not where the sign-in's are.")
@click.option("--external-ids", is_flag=True, help="Its subjects are also the externalId of the directory's users.")
@click.option("--off", is_flag=True, help="Take no revocations from this provider.")
def universal_logout_of(
    acting: Acting, connection: str, issuer: str | None, subject: str | None, jwks_uri: str | None, external_ids: bool, off: bool
) -> Answer:
    """Let a connection's provider sign its people out here (Okta Universal Logout, Global Token Revocation)."""
    said = {"issuer": issuer, "subject": subject, "jwks_uri": jwks_uri, "external_ids": external_ids, "off": off}
    kept = {name: value for name, value in said.items() if value}

    def act(session: Session) -> tuple[str, universal_logout.Party | None]:
        row = connections.find_named(session, acting.organization_id, connection)
        connections.change(session, row, settings={"universal_logout": kept}, actor=acting.actor, at=now())
        return row.id, universal_logout.party_of(row)

    connection_id, party = in_transaction(act)
    url = f"{acting.settings.public_url}{universal_logout.PATH}{connection_id}"
    fields = {"url": url, "issuer": party.issuer if party else None, "subject": party.subject if party else None, "on": party is not None}
    notes = [] if party or off else ["It is off until --issuer and --subject say who may call: a SAML connection does not know them."]
    return Answer(schema="signals.universal_logout", fields=fields, tables=[Table(columns=tuple(fields), rows=[list(fields.values())])], notes=notes)


@verb(receiver, "add", may=ADMINS)
@click.argument("name", type=NAME)
@click.option("--audience", metavar="TEXT", help="aud of its events. Default: a name made up for it.")
@click.option("--algorithm", type=click.Choice(OWN_ALGORITHMS[Purpose.TOKENS]), default="ES256", show_default=True, help="What its events are signed with.")
@click.option("--subject", type=click.Choice([one.value for one in SubjectFormat]), default=SubjectFormat.ISS_SUB.value, show_default=True, help="How people are named to it.")
@click.option("--read-only", is_flag=True, help="It may read its stream and poll, and change nothing.")
@click.option("--client-credentials", is_flag=True, help="It gets a client id and secret, and asks for access tokens with them.")
@_PRIVATE
def add_receiver(
    acting: Acting, name: str, audience: str | None, algorithm: str, subject: str, read_only: bool, client_credentials: bool, allow_private: bool
) -> Answer:
    """Let somebody follow: they set up their stream themselves, with the token that this gives."""
    draft = receivers.Draft(
        name=name, audience=audience, algorithm=algorithm, subject_format=SubjectFormat(subject), private_network=allow_private,
        scopes=(Scope.READ,) if read_only else (Scope.READ, Scope.MANAGE), secret=client_credentials,
    )  # fmt: skip
    row, secret = in_transaction(lambda session: receivers.add(session, acting.organization_id, draft, actor=acting.actor, at=now()))
    url = acting.settings.public_url
    proof = {"client_id": row.id, "client_secret": secret, "token_url": url + TOKEN_PATH} if client_credentials else {"token": secret}
    fields = {**_receiver(row, None), **proof, "configuration_url": url + WELL_KNOWN, "configuration_endpoint": url + PATH}
    columns = ("id", "audience", *proof, "configuration_url")
    return Answer(
        schema="signals.receiver", fields=fields, tables=[Table(columns=columns, rows=[[fields[column] for column in columns]])],
        notes=["The client secret is shown this once." if client_credentials else "The token is shown this once."],
    )  # fmt: skip


def _receiver(row: Receiver, stream: Stream | None) -> dict[str, object]:
    said: dict[str, object] = {
        "id": row.id, "name": row.name, "audience": row.audience, "algorithm": row.algorithm, "subject": row.subject_format, "scopes": row.scopes,
        "stream": None,
    }  # fmt: skip
    if stream is not None:
        said["stream"] = {
            "id": stream.id, "status": stream.status, "reason": stream.status_reason, "delivery": stream.delivery,
            "endpoint_url": stream.endpoint_url, "failures": stream.failures,
        }  # fmt: skip
    return said


@verb(receiver, "list", may=ANYONE)
def list_receivers(acting: Acting) -> Answer:
    """Every receiver with its stream, and how much waits for it."""
    with reading() as session:
        rows = []
        for row, stream in receivers.standing(session, acting.organization_id):
            counted = 0 if stream is None else len(streams.waiting(session, stream, most=streams.MOST_WAITING))
            rows.append({**_receiver(row, stream), "waiting": counted, "status": None if stream is None else stream.status})
    columns = ("id", "name", "status", "waiting", "audience")
    return Answer(
        schema="signals.receivers", fields={"receivers": rows},
        tables=[Table(columns=columns, rows=[[row[column] for column in columns] for row in rows])],
    )  # fmt: skip


@verb(receiver, "test", may=ADMINS)
@click.argument("name")
def test_receiver(acting: Acting, name: str) -> Answer:
    """Put a verification event on a receiver's stream; `receiver list` shows whether it was taken."""

    def act(session: Session) -> tuple[Receiver, Sequence[str]]:
        row = receivers.find_named(session, acting.organization_id, name)
        stream = receivers.stream_of(session, row)
        if stream is None:
            raise click.ClickException(f"{row.name} has not set up a stream yet")
        if stream.status == StreamStatus.DISABLED:
            raise click.ClickException(f"the stream of {row.name} is disabled and keeps nothing: its receiver has to enable it first")
        event = streams.say_of_stream(session, stream, streams.VERIFICATION, {}, at=now())
        return row, [stream.id, event.id]

    row, (stream_id, jti) = in_transaction(act)
    return Answer(
        schema="signals.receiver.test", fields={"receiver_id": row.id, "stream_id": stream_id, "jti": jti},
        notes=[f"A verification event waits for {row.name}."],
    )  # fmt: skip


@verb(receiver, "end", may=ADMINS)
@click.argument("name")
def end_receiver(acting: Acting, name: str) -> Answer:
    """End a receiver, its stream and its tokens."""
    row = in_transaction(lambda session: receivers.end(session, acting.organization_id, name, actor=acting.actor, at=now()))
    return Answer(schema="signals.receiver", fields={"id": row.id, "name": row.name, "ended": True}, notes=[f"{row.name} hears nothing more."])
