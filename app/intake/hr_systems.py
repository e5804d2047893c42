"""Verbs of set-up: an HR system is connected by its description, given secrets and a credential, and told whom it means."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.access.sealing import seal
from app.actors import Actor
from app.directory.tables import Person, Source
from app.intake import descriptions
from app.intake.hr import BadCall
from app.intake.hr import link as link_key
from app.intake.hr_tables import HRPerson, HRSystem
from app.intake.schemes import check_secret
from app.intake.tables import HREvent
from app.intake.vendor_api import check_variables, servers_of
from app.intake.yaml_nodes import DescriptionError
from app.journal import entries
from app.lifecycle.people import lock_meant
from app.lifecycle.sources import add_hr_source, stay_where_it_is_known
from app.settings import Settings


def add_described(
    session: Session, organization_id: str, name: str, text: str, *,
    secret: str | None, credential: str | None, variables: Mapping[str, str], allow_private: bool, settings: Settings, actor: Actor, at: datetime,
) -> tuple[Source, str]:  # fmt: skip
    """An HR system by its description, and the secret that it signs with: ours, unless the vendor has given one. Raises DescriptionError, BadCall, Taken, KeyMissing."""
    _check_secret(text, secret)
    check_variables(variables, descriptions.read(text))
    source, made = add_hr_source(session, organization_id, name, settings=settings, actor=actor, at=at)
    if secret is not None:
        take_secret(session, source, secret, settings=settings, actor=actor, at=at)
        source.sealed_previous_secret = None
    session.add(
        HRSystem(
            organization_id=organization_id, source_id=source.id, description=text, variables=dict(variables), allow_private=allow_private,
            sealed_credential=None if credential is None else seal(settings, credential), look_again_at=at, alarmed=False, created_at=at,
        )
    )  # fmt: skip
    session.flush()
    return source, secret or made


def _check_secret(text: str, secret: str | None) -> None:
    signature = descriptions.read(text).signature
    try:
        if signature is not None:
            check_secret(signature, secret)
    except ValueError as error:
        raise BadCall(str(error)) from None


def change(
    session: Session, source: Source, system: HRSystem, *,
    text: str | None, credential: str | None, variables: Mapping[str, str], settings: Settings, actor: Actor, at: datetime,
) -> None:  # fmt: skip
    """Another description, credential or variable; what is not named stays. Raises DescriptionError, BadCall, KeyMissing, SecretElsewhere."""
    changed = {"description": text is not None, "credential": credential is not None, "variables": dict(variables)}
    if variables or text is not None:
        check_variables(variables, descriptions.read(system.description if text is None else text))
    before = _asked(system)
    if text is not None:
        system.description = text
    system.variables = {**system.variables, **variables}
    if credential is not None:
        system.sealed_credential = seal(settings, credential)
    elif system.sealed_credential is not None:
        stay_where_it_is_known(before, _asked(system), name=source.name, give="--credential-file")
    system.look_again_at = at
    _journal(session, source, "HR system changed", actor=actor, at=at, because="operator", after=changed)


def _asked(system: HRSystem) -> frozenset[object]:
    try:
        return servers_of(descriptions.read(system.description), system.variables)
    except DescriptionError:
        # Stored by a version that read it otherwise: nothing is asked by it.
        return frozenset()


def take_secret(
    session: Session, source: Source, secret: str, *, settings: Settings, actor: Actor, at: datetime, because: str = "operator"
) -> None:
    """The secret that the vendor gave; the one before stays good until the next. Raises BadCall where no call could be checked with it, KeyMissing."""
    system = session.get(HRSystem, (source.organization_id, source.id))
    if system is not None:
        _check_secret(system.description, secret)
    source.journal_id = _journal(session, source, "source rotated", actor=actor, at=at, because=because)
    source.sealed_previous_secret, source.sealed_secret = source.sealed_secret, seal(settings, secret)


def link(session: Session, source: Source, key: str, person: Person, *, actor: Actor, at: datetime) -> None:
    """By this id the vendor means this person, says an operator; it counts over what was known before. Raises TurnedOut."""
    lock_meant(session, source.organization_id, person.id)
    _journal(session, source, "HR id linked", actor=actor, at=at, because="operator", after={"key": key, "person": person.id})
    there = session.get(HRPerson, (source.organization_id, source.id, key))
    if there is None:
        link_key(session, source, key, person.id, at=at)
    else:
        there.person_id, there.said, there.linked_at = person.id, None, at


def forget_bodies(session: Session, *, before: datetime, most: int = 500) -> int:
    """Delete sealed bodies that came before then; their hash stays, and what was acted on. What nobody has decided on keeps its own."""
    old = select(HREvent.organization_id, HREvent.source_id, HREvent.event_id).where(
        HREvent.sealed_body.is_not(None), HREvent.received_at < before, HREvent.state.not_in(("received", "parked"))
    )  # fmt: skip
    found = session.execute(old.order_by(HREvent.received_at).limit(most)).all()
    for key in found:
        session.get_one(HREvent, tuple(key)).sealed_body = None
    return len(found)


def _journal(
    session: Session, source: Source, verb: str, *, actor: Actor, at: datetime, because: str, after: dict[str, object] | None = None
) -> int:
    return entries.write(
        session,
        source.organization_id,
        at=at,
        actor=actor,
        verb=verb,
        because=because,
        subject_kind="source",
        subject_id=source.id,
        after=after,
    )
