"""Connections to identity providers: their settings as types, and the verbs that add, change and end them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.access import sessions
from app.access.connection_tables import Connection, ConnectionDomain, ConnectionKind, Identity
from app.actors import Actor
from app.database import new_id
from app.directory.tables import Source
from app.journal import entries
from app.journal.tables import Lane, Organization
from app.json_text import is_storable
from app.lifecycle.errors import NotFound, Taken
from app.revocation.telling import tell_parties
from app.sso.refusals import Reason, Refused
from app.sso.verified import DirectoryIds

LONGEST_NAME: Final = 100
LONGEST_ID: Final = 40
STRONG: Final = (
    "mfa",  # RFC 8176
    "phr", "phrh",  # OpenID Connect Extended Authentication Profile: phishing-resistant
    "https://refeds.org/profile/mfa",
    "http://schemas.microsoft.com/claims/multipleauthn",
)  # fmt: skip
"""What counts as a second factor where a connection does not say: words that mean nothing less wherever they are used."""


class Matches(StrEnum):
    """Which of a record's own ids a message may name somebody by."""

    EXTERNAL_ID = "externalId"
    USER_NAME = "userName"
    EMPLOYEE_NUMBER = "employeeNumber"


class UnusableConnection(ValueError):
    """A connection cannot be as it is asked for; the message says why."""


@dataclass(frozen=True, kw_only=True)
class DirectoryKey:
    """By what a first sign-in finds its record. Without an attribute it is the subject itself; with a source only that directory's records count."""

    attribute: str | None = None
    matches: Matches = Matches.EXTERNAL_ID
    source_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class ConnectionSettings:
    """What an organisation decided about a connection. Everything that opens it wider is off unless it says so.

    `directory_key` is None where nobody chose one: then a subject that is an e-mail address binds nobody.
    """

    allow_idp_initiated: bool = False
    jit: bool = False
    require_second_factor: bool = False
    strong: frozenset[str] = frozenset(STRONG)
    directory_key: DirectoryKey | None = None
    saml: Mapping[str, Any]
    oidc: Mapping[str, Any]

    def counts_as_strong(self, acr: str | None, amr: Iterable[str]) -> bool:
        """Whether this authentication context says that a second factor was used."""
        return acr in self.strong or not self.strong.isdisjoint(amr)

    def stronger(self, wanted: Iterable[str]) -> tuple[str, ...]:
        """Of what somebody wants a provider to be asked for, what is a second factor to it: by a link nobody has it do with less."""
        return tuple(one for one in dict.fromkeys(wanted) if one in self.strong)


def settings_of(connection: Connection) -> ConnectionSettings:
    """The connection's settings. What is stored but cannot be read counts as not set, so as the stricter choice."""
    kept = connection.settings
    key = kept.get("directory_id")
    return ConnectionSettings(
        allow_idp_initiated=kept.get("allow_idp_initiated") is True,
        jit=kept.get("jit") is True,
        require_second_factor=kept.get("require_second_factor") is True,
        strong=frozenset(kept["strong"]) if isinstance(kept.get("strong"), list) else frozenset(STRONG),
        directory_key=_directory_key(key) if isinstance(key, dict) else None,
        saml=kept.get("saml") or {},
        oidc=kept.get("oidc") or {},
    )


def _directory_key(kept: Mapping[str, Any]) -> DirectoryKey:
    return DirectoryKey(attribute=kept.get("attribute"), matches=Matches(kept.get("matches", Matches.EXTERNAL_ID)), source_id=kept.get("source_id"))


def directory_ids(connection: Connection, said: Mapping[str, Sequence[str]]) -> DirectoryIds:
    """What a message says of the directory's own id: the one attribute that the connection names, in the field it is matched to.

    `said` are the message's attributes or claims as texts. An attribute that is absent, or has several values, says nothing, as
    one that no directory could have sent us: a database can be asked for no NUL and for no half surrogate pair.
    Where the connection names no attribute, the subject is asked for it when somebody enters.
    """
    key = settings_of(connection).directory_key
    if key is None or key.attribute is None:
        return DirectoryIds()
    values = [value for value in said.get(key.attribute, ()) if value.strip()]
    if len(values) != 1 or not is_storable(values[0]):
        return DirectoryIds()
    match key.matches:
        case Matches.EXTERNAL_ID:
            return DirectoryIds(external_id=values[0])
        case Matches.USER_NAME:
            return DirectoryIds(user_name=values[0])
        case Matches.EMPLOYEE_NUMBER:
            return DirectoryIds(employee_number=values[0])


def find(session: Session, connection_id: str, *, kind: ConnectionKind | None = None) -> Connection | None:
    """A connection that stands, by its id alone: whose it is, is what its row says. None where there is none, or of another kind."""
    found = _ever(session, connection_id)
    return found if found is not None and found.ended_at is None and kind in (None, found.kind) else None


def no_such(session: Session, connection_id: str, said: str) -> Refused:
    """Why nobody comes in where `find` found none. One that has ended, or is of another kind, is named: its organisation finds the refusal then."""
    known = _ever(session, connection_id)
    return Refused(Reason.UNKNOWN_CONNECTION, said, connection_id=None if known is None else known.id)


def _ever(session: Session, connection_id: str) -> Connection | None:
    # PostgreSQL cannot even be asked for a text with a NUL in it.
    if len(connection_id) > LONGEST_ID or not connection_id.isprintable():
        return None
    return session.scalar(select(Connection).where(Connection.id == connection_id))


def find_named(session: Session, organization_id: str, text: str, *, lock: bool = False) -> Connection:
    """A standing connection of this organisation by its name or id; locked for whoever changes it, since its settings are one value. Raises NotFound."""
    query = select(Connection).where(
        Connection.organization_id == organization_id, (Connection.name == text) | (Connection.id == text), Connection.ended_at.is_(None)
    )
    found = session.scalar(query.with_for_update().execution_options(populate_existing=True) if lock else query)
    if found is None:
        raise NotFound("connection", text)
    return found


def hold(session: Session, connection: Connection) -> None:
    """Wait for whoever is entering through it: what they are given is there to be ended then. Nobody else enters until the transaction ends."""
    mine = (Connection.organization_id == connection.organization_id, Connection.id == connection.id)
    session.execute(select(Connection.id).where(*mine).with_for_update())


def standing_connections(session: Session, organization_id: str) -> Sequence[Connection]:
    """The connections of an organisation, by name."""
    return session.scalars(
        select(Connection).where(Connection.organization_id == organization_id, Connection.ended_at.is_(None)).order_by(Connection.name)
    ).all()


@dataclass(frozen=True, kw_only=True)
class Way:
    """A connection as a page offers it."""

    connection_id: str
    connection: str
    organization: str


def ways_of_domain(session: Session, domain: str) -> list[Way]:
    """Where people of this e-mail domain sign in, in every organisation that has it. Says nothing of who exists.

    In an installation with one single connection that names no domains, everybody signs in there.
    """
    query = (
        select(Connection.id, Connection.name, Organization.name)
        .join(Organization, Organization.id == Connection.organization_id)
        .where(Connection.ended_at.is_(None))
        .order_by(Organization.name, Connection.name)
    )
    named = query.join(
        ConnectionDomain,
        (ConnectionDomain.organization_id == Connection.organization_id) & (ConnectionDomain.connection_id == Connection.id),
    ).where(ConnectionDomain.domain == domain)
    rows = session.execute(named).all()
    if not rows:
        every = session.execute(query.limit(2)).all()
        has_domains = len(every) == 1 and session.scalar(select(ConnectionDomain.domain).where(ConnectionDomain.connection_id == every[0][0]).limit(1))
        rows = every if len(every) == 1 and not has_domains else []
    return [Way(connection_id=row[0], connection=row[1], organization=row[2]) for row in rows]


def way_of(session: Session, connection_id: str) -> Way | None:
    """A standing connection as a page names it."""
    if len(connection_id) > LONGEST_ID or not connection_id.isprintable():
        return None
    row = session.execute(
        select(Connection.id, Connection.name, Organization.name)
        .join(Organization, Organization.id == Connection.organization_id)
        .where(Connection.id == connection_id, Connection.ended_at.is_(None))
    ).one_or_none()
    return None if row is None else Way(connection_id=row[0], connection=row[1], organization=row[2])


def domain_of(text: str) -> str | None:
    """A domain as it is compared: lower case, in the form that DNS has. None where it cannot be one."""
    plain = text.strip().rstrip(".").casefold()
    try:
        known = plain.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    labels = known.split(".")
    fits = len(known) <= 253 and all(label and all(mark.isalnum() or mark == "-" for mark in label) for label in labels)
    return known if fits else None


def domains_of(session: Session, connection: Connection) -> list[str]:
    """The e-mail domains of a connection, sorted."""
    return list(
        session.scalars(
            select(ConnectionDomain.domain)
            .where(ConnectionDomain.organization_id == connection.organization_id, ConnectionDomain.connection_id == connection.id)
            .order_by(ConnectionDomain.domain)
        )
    )


def add(
    session: Session, organization_id: str, *, kind: ConnectionKind, name: str, issuer: str, settings: Mapping[str, Any],
    domains: Iterable[str] = (), sealed_secret: bytes | None = None, connection_id: str | None = None, actor: Actor, at: datetime,
) -> Connection:  # fmt: skip
    """A new connection, under an id that was made before where its settings speak of it.

    Raises Taken where the name, or for SAML the issuer, is in use; UnusableConnection.

    What a SAML provider calls itself is only what its metadata says. Two connections of one organisation under one name
    would let the second speak of the first one's people, so it is refused.
    """
    if not name.strip() or len(name) > LONGEST_NAME or not issuer:
        raise UnusableConnection(f"a connection needs a name of at most {LONGEST_NAME} characters, and an issuer")
    for one in standing_connections(session, organization_id):
        if one.name == name:
            raise Taken("name", name, f"there is a connection named {name!r} already")
        if one.issuer == issuer and ConnectionKind.SAML in (one.kind, kind):
            raise Taken("issuer", issuer, f"{issuer} is the issuer of the connection {one.name!r} already; refresh that one, or end it first")
    settings = checked(session, organization_id, settings)
    made = Connection(
        organization_id=organization_id, id=connection_id or new_id(), kind=kind, name=name, issuer=issuer, settings=settings, sealed_secret=sealed_secret,
        created_at=at,
    )  # fmt: skip
    session.add(made)
    session.flush()
    wanted = _write_domains(session, made, domains)
    _journal(session, made, "connection added", actor=actor, at=at, after={**_shown(made), "domains": wanted})
    return made


def change(
    session: Session, connection: Connection, *, settings: Mapping[str, Any] | None = None, domains: Iterable[str] | None = None,
    sealed_secret: bytes | None = None, actor: Actor, at: datetime,
) -> Connection:  # fmt: skip
    """Change what is given and leave the rest: `settings` key by key, where None takes a key away. Raises UnusableConnection."""
    before = {**_shown(connection), "domains": domains_of(session, connection)}
    provider_before = settings_of(connection).oidc
    if settings is not None:
        merged = {key: value for key, value in {**connection.settings, **settings}.items() if value is not None}
        connection.settings = checked(session, connection.organization_id, merged)
    if sealed_secret is not None:
        connection.sealed_secret = sealed_secret
    if domains is not None:
        _write_domains(session, connection, domains)
    session.flush()
    after = {**_shown(connection), "domains": domains_of(session, connection)}
    provider = settings_of(connection).oidc
    # Where codes, our secret and our trust in keys go, such as after the provider's metadata were read again.
    if others := [key for key in sorted({*provider_before, *provider}) if provider_before.get(key) != provider.get(key)]:
        before["oidc"], after["oidc"] = ({key: kept.get(key) for key in others} for kept in (provider_before, provider))
    if before != after or sealed_secret is not None:
        said = {**after, **({"secret": "replaced"} if sealed_secret is not None else {})}
        _journal(session, connection, "connection changed", actor=actor, at=at, before=before, after=said)
    return connection


def end(session: Session, connection: Connection, *, actor: Actor, at: datetime) -> int:
    """Nobody enters through it any more, and whoever did is signed out, with every application and device that was let in on its word.

    Returns how many sessions that ended.
    """
    organization_id = connection.organization_id
    # First this, so that a sign-in through it that is under way is either refused or already there to be ended.
    session.execute(
        update(Connection).where(Connection.organization_id == organization_id, Connection.id == connection.id).values(ended_at=at)
    )
    entry = _journal(session, connection, "connection ended", actor=actor, at=at, before=_shown(connection))
    ended = sessions.end_by_connection(session, organization_id, connection.id, why="its connection was ended", at=at)
    for person_id in sorted(ended.people):
        tell_parties(session, organization_id, person_id, because=entry, at=at, lane=Lane.SYNC)
    session.refresh(connection)
    return ended.sessions


def unbind(session: Session, connection: Connection, person_id: str, *, actor: Actor, at: datetime) -> int:
    """The issuer's subjects mean this person no more: their next sign-in is matched as a first one. Returns how many there were."""
    mine = (
        Identity.organization_id == connection.organization_id, Identity.issuer == connection.issuer, Identity.person_id == person_id,
        Identity.ended_at.is_(None),
    )  # fmt: skip
    bound = session.scalars(select(Identity).where(*mine)).all()
    if bound:
        _journal(session, connection, "identity unbound", actor=actor, at=at, before={"person": person_id, "subjects": len(bound)})
        session.execute(update(Identity).where(*mine).values(ended_at=at).execution_options(synchronize_session=False))
    return len(bound)


def checked(session: Session, organization_id: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they may be stored. Raises UnusableConnection."""
    for key in ("allow_idp_initiated", "jit", "require_second_factor"):
        if not isinstance(settings.get(key, False), bool):
            raise UnusableConnection(f"{key} is true or false")
    strong = settings.get("strong", [])
    if not isinstance(strong, list) or not all(isinstance(one, str) and one for one in strong):
        raise UnusableConnection("strong is a list of values of acr, amr or AuthnContextClassRef")
    chosen = settings.get("directory_id")
    if chosen is not None:
        if not isinstance(chosen, dict) or chosen.get("matches", Matches.EXTERNAL_ID) not in list(Matches):
            raise UnusableConnection(f"directory_id matches {', '.join(Matches)}")
        source_id = chosen.get("source_id")
        if source_id is not None and session.get(Source, (organization_id, source_id)) is None:
            raise NotFound("source", str(source_id))
    return dict(settings)


def _write_domains(session: Session, connection: Connection, domains: Iterable[str]) -> list[str]:
    wanted = set()
    for one in domains:
        known = domain_of(one.removeprefix("@"))
        if known is None or "." not in known:
            raise UnusableConnection(f"{one!r} is no e-mail domain; write it like acme.example")
        wanted.add(known)
    session.execute(
        delete(ConnectionDomain).where(
            ConnectionDomain.organization_id == connection.organization_id, ConnectionDomain.connection_id == connection.id
        )
    )
    session.add_all(
        ConnectionDomain(organization_id=connection.organization_id, connection_id=connection.id, domain=one) for one in sorted(wanted)
    )
    session.flush()
    return sorted(wanted)


def _shown(connection: Connection) -> dict[str, Any]:
    """What the journal keeps of a connection: every choice, and no secret. Of the two protocols' own settings only what becomes another."""
    own = {key: value for key, value in connection.settings.items() if key not in ("saml", "oidc")}
    return {"name": connection.name, "kind": connection.kind, "issuer": connection.issuer, "settings": own}


def _journal(
    session: Session, connection: Connection, verb: str, *, actor: Actor, at: datetime, before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> int:  # fmt: skip
    return entries.write(
        session, connection.organization_id, at=at, actor=actor, verb=verb, because="operator", subject_kind="connection",
        subject_id=connection.id, before=before, after=after,
    )  # fmt: skip
