"""Settings from the environment, each documented by the docstring below it; `docs/settings.md` is made from them."""

import base64
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

MOST_AT_ONCE: Final = 1024
"""Processes, threads or proxies. One machine has no use for as many."""
HUNDRED_YEARS: Final = 36_500 * 86_400
"""Seconds. An instant that lies so far back is still one, in Python and in both databases."""
LARGEST_BODY: Final = 10**12


class SettingError(Exception):
    """A setting cannot be used; the message names it and what it should be."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one process of Doorlist was started with."""

    home: Path
    """`DOORLIST_HOME` (default `./.doorlist`): folder of the embedded database and of the encryption key."""

    database_url: str
    """`DATABASE_URL` (default SQLite in `DOORLIST_HOME`): an SQLAlchemy URL, `sqlite:///…` or `postgresql+psycopg://…`. A path that does not begin with `/` is looked for from the folder in which the process is started."""

    public_url: str
    """`DOORLIST_PUBLIC_URL` (default `http://127.0.0.1:8484`): how identity providers and HR systems reach this service; only used in links."""

    encryption_key: str | None
    """`DOORLIST_ENCRYPTION_KEY`: key for credentials at rest (URL-safe base64 of 32 bytes). Default: the file `encryption.key` in `DOORLIST_HOME`, made by `doorlist init`."""

    generation_file: Path | None
    """`DOORLIST_GENERATION_FILE` (default the file `generation` in `DOORLIST_HOME`): where it is kept, outside of the database, how far that has come, so that a restored backup is noticed. Put it where it is not restored together with the database."""

    smtp_url: str | None
    """`DOORLIST_SMTP_URL`: the mail server for alarms, `smtp://user:password@host:587` (STARTTLS is demanded; `?starttls=no` for a relay on this machine) or `smtps://…`; a password may have blanks; `/`, `?` and `#` in it are written `%2F`, `%3F` and `%23`. Without it no mail is sent."""

    smtp_from: str
    """`DOORLIST_SMTP_FROM` (default `doorlist@` and the host in `DOORLIST_PUBLIC_URL`): sender of these mails."""

    operator_token: str | None
    """`DOORLIST_TOKEN`: token of the operator on whose behalf the command line acts; without it an act is recorded as the host's own user."""
    organization: str | None
    """`DOORLIST_ORGANIZATION`: the organisation that commands mean without `--organization`. Where there are several, what an answer gives to be typed is then right as it stands."""

    web_processes: int
    """`DOORLIST_WEB_PROCESSES` (default 1): processes that answer requests; more than one only helps on PostgreSQL."""

    web_threads: int
    """`DOORLIST_WEB_THREADS` (default 0: 4 on SQLite, 8 on PostgreSQL): threads in each of them."""

    departure_workers: int
    """`DOORLIST_DEPARTURE_WORKERS` (default 4): threads that do nothing but departures."""

    sync_workers: int
    """`DOORLIST_SYNC_WORKERS` (default 8): threads for everything else."""

    overdue_after: float
    """`DOORLIST_OVERDUE_AFTER` (default 60): seconds after which a departure that is not shut counts as overdue."""

    body_limit: int
    """`DOORLIST_BODY_LIMIT` (default 2097152): largest request body in bytes."""

    scim_rate: float
    """`DOORLIST_SCIM_RATE` (default 1000): SCIM requests a second of one directory, in each process; twice as many may come at once. Deactivations always pass; 0 lets everything through."""

    sign_in_rate: float
    """`DOORLIST_SIGN_IN_RATE` (default 10): sign-ins a second from one address, in each process; thirty times as many may come at once. 0 lets everything through."""

    proxies: int
    """`DOORLIST_PROXIES` (default 0): how many reverse proxies of yours stand before this service. The address of a caller is then taken from `X-Forwarded-For`, that many places from its end."""

    requests_kept_days: float
    """`DOORLIST_REQUESTS_KEPT_DAYS` (default 400): days for which the meaning of each SCIM request is kept: who, what, answer, time, person, error. 0 keeps none. Signals that were received are kept as long, and never less than 30."""

    bodies_kept_days: float
    """`DOORLIST_BODIES_KEPT_DAYS` (default 7): days for which the masked bodies of SCIM requests are kept. 0 keeps none."""

    sign_ins_kept_days: float
    """`DOORLIST_SIGN_INS_KEPT_DAYS` (default 400, at least 180, for which an application may be let go on): days for which sessions that ran out are kept, with what applications had through them. When somebody last signed in stays."""

    audit_kept_days: float
    """`DOORLIST_AUDIT_KEPT_DAYS` (default 2192, six years): days for which the content of the audit is kept. Afterwards its hashes stay, so that every proof still holds."""

    audit_lag: float
    """`DOORLIST_AUDIT_LAG` (default 60, at most 3600): seconds that an entry may wait for its place in the audit tree; past that nothing new is given until the tree has caught up. Access is taken as ever."""

    checkpoint_folder: Path | None
    """`DOORLIST_CHECKPOINT_FOLDER`: a folder, best on another machine, to which each signed checkpoint of the audit is written. One that contradicts what lies there is refused."""

    checkpoint_url: str | None
    """`DOORLIST_CHECKPOINT_URL`: an address to which each signed checkpoint is POSTed as JSON: `organization`, `size`, `checkpoint`."""

    checkpoint_token: str | None
    """`DOORLIST_CHECKPOINT_TOKEN`: bearer token for that address."""

    siem_syslog: str | None
    """`DOORLIST_SIEM_SYSLOG`: a syslog server, `tls://host:6514` or `tcp://host:601`, that is sent every leaf of the audit (RFC 5424, octet counting)."""

    siem_ca_file: str | None
    """`DOORLIST_SIEM_CA_FILE` (default the system's): certificates by which that server, at `tls://`, is known."""

    siem_url: str | None
    """`DOORLIST_SIEM_URL`: an address to which every leaf of the audit is POSTed as lines of JSON."""

    siem_token: str | None
    """`DOORLIST_SIEM_TOKEN`: bearer token for that address."""

    bodies_show: frozenset[str]
    """`DOORLIST_BODIES_SHOW` (default none): attributes whose values are kept unmasked in those bodies beside the usual ones, parted by commas, such as `title,name`. Passwords, secrets and tokens stay masked."""


def _number(environment: Mapping[str, str], name: str, default: float, *, least: float, most: float = math.inf) -> float:
    text = environment.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError as error:
        raise SettingError(f"{name} must be a number, not {text!r}") from error
    if not value >= least:
        raise SettingError(f"{name} must be at least {least:.15g}, not {text}")
    if value > most:
        raise SettingError(f"{name} must be at most {most:.15g}, not {text}")
    return value


def _whole(environment: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    value = _number(environment, name, default, least=least, most=most)
    if value != int(value):
        raise SettingError(f"{name} must be a whole number, not {environment[name]}")
    return int(value)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """What is wrong with an address or a token is said by whoever would use it; here it is told whose it is. Raises SettingError."""
    from connectors.contract import Misconfigured

    try:
        yield
    except Misconfigured as error:
        raise SettingError(f"{name} cannot be used: {error}") from error


def _address(environment: Mapping[str, str], name: str, *, such_as: str) -> str | None:
    """An address that can be read, whatever it leads to; None where there is none."""
    text = environment.get(name) or None
    if text is None:
        return None
    try:
        # Reading the port is what refuses one that is no number, or too large.
        readable = text.isprintable() and not any(letter.isspace() for letter in text) and urlsplit(text).port != 0
        _check_name(urlsplit(text).hostname)
    except ValueError:
        readable = False
    if not readable:
        # Not shown, since it may hold a password.
        raise SettingError(f"{name} must be an address such as {such_as}, without blanks, with a host that can be one, and with a port from 1 to 65535 if any")
    return text


def _check_name(host: str | None) -> None:
    """Raises ValueError of what no name of a host can be, such as one with two dots in a row: whoever is to look for it would fail by that."""
    (host or "").encode("idna")


def _public_url(environment: Mapping[str, str], default: str = "http://127.0.0.1:8484") -> str:
    example = "https://doorlist.example.com"
    text = _address(environment, "DOORLIST_PUBLIC_URL", such_as=example) or default
    public = urlsplit(text)
    if public.scheme not in ("http", "https") or not public.hostname or public.query or public.fragment:
        raise SettingError(f"DOORLIST_PUBLIC_URL must be an address such as {example}")
    return text.rstrip("/")


def _server(environment: Mapping[str, str], name: str, *, such_as: str) -> str | None:
    """The address of a server, and perhaps a password for it, as they were copied: with a line's end behind it, or with the blanks that a password has."""
    before, at, host = environment.get(name, "").strip().rpartition("@")
    return _address({name: f"{before.replace(' ', '%20')}{at}{host}"}, name, such_as=such_as)


def _smtp(environment: Mapping[str, str]) -> tuple[str | None, str]:
    """The mail server, and who mails come from."""
    url = _server(environment, "DOORLIST_SMTP_URL", such_as="smtp://user:password@host:587")
    sender = environment.get("DOORLIST_SMTP_FROM") or f"doorlist@{urlsplit(_public_url(environment, 'http://localhost')).hostname}"
    if url is not None:
        from connectors.mail import Mailer, check_address

        with _named("DOORLIST_SMTP_FROM"):
            check_address(sender)
        with _named("DOORLIST_SMTP_URL"):
            Mailer(url, sender=sender)
    return url, sender


def _siem_syslog(environment: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The syslog server, and the file with the certificates by which it is known."""
    url = _server(environment, "DOORLIST_SIEM_SYSLOG", such_as="tls://host:6514")
    ca_file = environment.get("DOORLIST_SIEM_CA_FILE") or None
    if url is not None:
        from connectors.syslog import SyslogServer

        with _named("DOORLIST_SIEM_SYSLOG"):
            SyslogServer(url, host="-")
        if ca_file is not None and urlsplit(url).scheme != "tls":
            raise SettingError("DOORLIST_SIEM_CA_FILE is for a server at tls://, and DOORLIST_SIEM_SYSLOG says tcp://, where no certificate is asked for")
        if ca_file is not None:
            from connectors.certificates import unreadable

            if (why := unreadable(ca_file)) is not None:
                raise SettingError(f"DOORLIST_SIEM_CA_FILE cannot be used: {why}")
    return url, ca_file


def _told(environment: Mapping[str, str], whom: str) -> tuple[str | None, str | None]:
    """An address that something is POSTed to, and the token for it."""
    name = whom.partition("_")[2].lower()
    url, token = environment.get(f"{whom}_URL") or None, environment.get(f"{whom}_TOKEN") or None
    if url is not None:
        from connectors.visits import Visitor, bearer

        with _named(f"{whom}_URL"):
            Visitor(name=name, allow_private=True).check(url)
        with _named(f"{whom}_TOKEN"):
            bearer(token, name=name)
    return url, token


def _encryption_key(environment: Mapping[str, str]) -> str | None:
    key = environment.get("DOORLIST_ENCRYPTION_KEY") or None
    try:
        good = key is None or len(base64.urlsafe_b64decode(key)) == 32
    except ValueError:
        good = False
    if not good:
        raise SettingError("DOORLIST_ENCRYPTION_KEY must be URL-safe base64 of 32 bytes")
    return key


def _database(environment: Mapping[str, str], home: Path) -> str:
    url = environment.get("DATABASE_URL") or _in_home(home)
    # Hosting platforms hand out the short scheme; SQLAlchemy would look for another driver under it.
    for short in ("postgres://", "postgresql://"):
        if url.startswith(short):
            url = "postgresql+psycopg://" + url.removeprefix(short)
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise SettingError("DATABASE_URL must start with sqlite:/// or postgresql://")
    try:
        file = make_url(url).database
        _check_name(make_url(url).host)
    except (ArgumentError, ValueError) as error:
        # Not shown, since it may hold a password.
        raise SettingError(
            "DATABASE_URL cannot be read: its host must be a name, its port a number, and what is odd in its password written like %40"
        ) from error
    if url.startswith("sqlite:///") and file in (None, "", ":memory:", "file::memory:"):
        raise SettingError("DATABASE_URL must name a file, such as sqlite:////srv/doorlist/doorlist.db: what is in memory is there for one process alone")
    return _in_whole(_with_options(url)) if url.startswith("sqlite:///") else url


def _in_home(home: Path) -> str:
    """The URL of the embedded database, wherever that is: `?` and `%` in a path would mean something in a URL, and lead elsewhere."""
    try:
        return URL.create("sqlite", database=str(home / "doorlist.db")).render_as_string()
    except UnicodeEncodeError as error:
        raise SettingError("DOORLIST_HOME must be a path in UTF-8: SQLite opens no other") from error


def _with_options(url: str) -> str:
    """The URL of a SQLite file once its options are such as the driver takes: it would be asked only when the first connection is opened."""
    said = make_url(url)
    try:
        with warnings.catch_warnings(action="ignore"):
            # What is no option of its at all it says itself, and goes on.
            said.get_dialect()().create_connect_args(said)
    except (ArgumentError, ValueError) as error:
        raise SettingError(f"DATABASE_URL cannot be read: what stands behind its ? are options such as timeout=3 ({error})") from error
    return url


def _in_whole(url: str) -> str:
    """The URL of a SQLite file with the whole of its path: Flask-SQLAlchemy would look for part of one in a folder `instance`, where nobody does."""
    said = make_url(url)
    name = said.database or ""
    # https://www.sqlite.org/uri.html, which the driver takes where the URL says `uri=true`.
    before = "file:" if "uri" in said.query and name.startswith("file:") else ""
    part = Path(name.removeprefix(before))
    if part.is_absolute():
        return url
    file = part.absolute()
    # An empty file is no database: `sqlite3` leaves one behind where it was asked to copy what is not there.
    left = None if _has_content(file) else next((one for one in (folder / part for folder in _folders_of_before()) if _has_content(one)), None)
    if left is not None:
        there = said.set(database=f"{before}{left}").render_as_string(hide_password=False)
        raise SettingError(
            f"DATABASE_URL means {file}, where there is no database, and an older Doorlist kept one in {left}: "
            f"set DATABASE_URL to {there}, or move that file here while nothing runs"
        )
    return said.set(database=f"{before}{file}").render_as_string(hide_password=False)


def _folders_of_before() -> tuple[Path, ...]:
    """Where Flask-SQLAlchemy looked for part of a path: Flask's folder for the data of an application, which in a virtual environment is another."""
    from flask import Flask

    return Path(Flask("doorlist", static_folder=None).instance_path), Path("instance").absolute()


def _has_content(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Read every setting. Raises SettingError."""
    env = os.environ if environment is None else environment
    home = Path(env.get("DOORLIST_HOME") or ".doorlist").absolute()
    smtp_url, smtp_from = _smtp(env)
    siem_syslog, siem_ca_file = _siem_syslog(env)
    checkpoint_url, checkpoint_token = _told(env, "DOORLIST_CHECKPOINT")
    siem_url, siem_token = _told(env, "DOORLIST_SIEM")
    return Settings(
        home=home,
        database_url=_database(env, home),
        public_url=_public_url(env),
        encryption_key=_encryption_key(env),
        generation_file=Path(kept).absolute() if (kept := env.get("DOORLIST_GENERATION_FILE")) else None,
        smtp_url=smtp_url,
        smtp_from=smtp_from,
        operator_token=env.get("DOORLIST_TOKEN") or None,
        organization=env.get("DOORLIST_ORGANIZATION") or None,
        web_processes=_whole(env, "DOORLIST_WEB_PROCESSES", 1, least=1, most=MOST_AT_ONCE),
        web_threads=_whole(env, "DOORLIST_WEB_THREADS", 0, least=0, most=MOST_AT_ONCE),
        departure_workers=_whole(env, "DOORLIST_DEPARTURE_WORKERS", 4, least=1, most=MOST_AT_ONCE),
        sync_workers=_whole(env, "DOORLIST_SYNC_WORKERS", 8, least=1, most=MOST_AT_ONCE),
        overdue_after=_number(env, "DOORLIST_OVERDUE_AFTER", 60, least=1, most=HUNDRED_YEARS),
        body_limit=_whole(env, "DOORLIST_BODY_LIMIT", 2 * 1024 * 1024, least=1024, most=LARGEST_BODY),
        scim_rate=_number(env, "DOORLIST_SCIM_RATE", 1000, least=0),
        sign_in_rate=_number(env, "DOORLIST_SIGN_IN_RATE", 10, least=0),
        proxies=_whole(env, "DOORLIST_PROXIES", 0, least=0, most=MOST_AT_ONCE),
        requests_kept_days=_number(env, "DOORLIST_REQUESTS_KEPT_DAYS", 400, least=0),
        bodies_kept_days=_number(env, "DOORLIST_BODIES_KEPT_DAYS", 7, least=0),
        sign_ins_kept_days=_number(env, "DOORLIST_SIGN_INS_KEPT_DAYS", 400, least=180),
        audit_kept_days=_number(env, "DOORLIST_AUDIT_KEPT_DAYS", 2192, least=1),
        # Whoever could wait for ever would have turned it off.
        audit_lag=_number(env, "DOORLIST_AUDIT_LAG", 60, least=5, most=3600),
        checkpoint_folder=Path(folder).absolute() if (folder := env.get("DOORLIST_CHECKPOINT_FOLDER")) else None,
        checkpoint_url=checkpoint_url,
        checkpoint_token=checkpoint_token,
        siem_syslog=siem_syslog,
        siem_ca_file=siem_ca_file,
        siem_url=siem_url,
        siem_token=siem_token,
        bodies_show=frozenset(name.strip().lower() for name in env.get("DOORLIST_BODIES_SHOW", "").split(",") if name.strip()),
    )


def make_home(settings: Settings) -> None:
    """Make the folder of the database and the key unless it is there; whatever the umask, nobody else may put others in their place. Raises OSError."""
    settings.home.mkdir(mode=0o755, parents=True, exist_ok=True)
