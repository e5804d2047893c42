"""What the environment may say, and what is refused by the name of its setting."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from flask import Flask
from sqlalchemy import make_url

from app.assembly import without_doors
from app.clock import now
from app.database import db, reading
from app.lifecycle.figures import overdue_by_place
from app.schema import upgrade
from app.settings import SettingError, from_environment
from tests.databases import let_go


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which the process is started."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def kept(file: Path) -> None:
    """A database with something in it, as an older Doorlist left it there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")


@pytest.mark.parametrize("said", ["my.db", "./my.db"])
def test_a_relative_file_lies_where_the_process_is_started(here: Path, said: str) -> None:
    settings = from_environment({"DATABASE_URL": f"sqlite:///{said}"})
    with without_doors(settings).app_context():
        upgrade()
        db.engine.dispose()
    let_go(settings.database_url)

    assert settings.database_url == f"sqlite:///{here / 'my.db'}"
    with closing(sqlite3.connect(here / "my.db")) as connection:
        assert connection.execute("SELECT count(*) FROM organization").fetchone() == (0,)
    assert not (here / "instance").exists()


@pytest.mark.parametrize("name", ["usual", "where?x=1", "50%25", "a%20b", "a b+c", "#1", "Zoë 営業"])
def test_the_embedded_database_lies_in_its_home_whatever_that_is_called(here: Path, name: str) -> None:
    settings = from_environment({"DOORLIST_HOME": name})
    with without_doors(settings).app_context():
        upgrade()
        db.engine.dispose()
    let_go(settings.database_url)

    assert [one.name for one in here.iterdir()] == [name]
    with closing(sqlite3.connect(here / name / "doorlist.db")) as connection:
        assert connection.execute("SELECT count(*) FROM organization").fetchone() == (0,)


def test_a_home_that_sqlite_cannot_open_is_refused_by_its_name() -> None:
    with pytest.raises(SettingError, match="DOORLIST_HOME must be a path in UTF-8"):
        from_environment({"DOORLIST_HOME": "/srv/caf\udce9"})


def test_what_stands_behind_the_path_of_a_file_is_kept(here: Path) -> None:
    assert from_environment({"DATABASE_URL": "sqlite:///my.db?timeout=3"}).database_url == f"sqlite:///{here}/my.db?timeout=3"
    as_uri = make_url(from_environment({"DATABASE_URL": "sqlite:///file:my.db?uri=true"}).database_url)
    assert (as_uri.database, dict(as_uri.query)) == (f"file:{here}/my.db", {"uri": "true"})


@pytest.mark.parametrize("copied", [False, True], ids=["", "after a copy of what was not there"])
def test_a_database_in_the_folder_of_before_is_not_begun_anew(here: Path, copied: bool) -> None:
    kept(here / "instance" / "my.db")
    if copied:
        (here / "my.db").touch()

    with pytest.raises(SettingError) as refused:
        from_environment({"DATABASE_URL": "sqlite:///my.db"})

    goes_on = f"sqlite:///{here / 'instance' / 'my.db'}"
    assert f"set DATABASE_URL to {goes_on}, or move" in str(refused.value)
    assert from_environment({"DATABASE_URL": goes_on}).database_url == goes_on


def test_a_database_in_the_folder_of_before_is_found_where_the_process_is_started_in_its_virtual_environment(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(here))
    left = here / "var" / "doorlist-instance" / "my.db"
    kept(left)

    with pytest.raises(SettingError, match=f"set DATABASE_URL to sqlite:///{left}, or move"):
        from_environment({"DATABASE_URL": "sqlite:///my.db"})


def test_a_database_in_the_folder_of_before_is_left_alone_beside_one_in_its_place(here: Path) -> None:
    kept(here / "instance" / "my.db")
    kept(here / "my.db")

    assert from_environment({"DATABASE_URL": "sqlite:///my.db"}).database_url == f"sqlite:///{here / 'my.db'}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        *(("DOORLIST_PUBLIC_URL", url) for url in ("https://h ", "https://h/a b", "https://h:84x4", "https://h:99999", "https://h:0", "http://[::1", "h:8484")),
        *(("DOORLIST_SMTP_URL", url) for url in ("mail.acme.example:587", "smtp://h:587x", "smtp://[::1", "smtp://h :587", "smtp://h?tls=no")),
        ("DOORLIST_SMTP_URL", "smtp://doorlist:s3cret@mail.acme.example?starttls=no"),
        *(("DOORLIST_SMTP_URL", f"smtp://doorlist:{start}s3cret@mail.acme.example:587") for start in ("#", "/", "?", "12/", "12?", "12#")),
        *(("DOORLIST_SIEM_SYSLOG", url) for url in ("siem.acme.example:6514", "udp://h:514", "tls://h:x", "tls://h/path", "tls://[::1", "tls://h?s3cret", "tls://h#s3cret")),
        *((name, url) for name in ("DOORLIST_SIEM_URL", "DOORLIST_CHECKPOINT_URL") for url in ("siem.acme.example", "ftp://h", "https://h:x", "https://h/ ")),
        *(("DATABASE_URL", url) for url in ("sqlite:///", "sqlite:///:memory:", "postgres://h:abc/x", "postgresql://doorlist:s3cret@h:1:2/x", "mysql://h/x")),
        *(("DATABASE_URL", f"sqlite:///my.db?{option}") for option in ("timeout=soon", "uri=perhaps", "detect_types=all")),
        *((f"DOORLIST_{name}", f"{scheme}://doors..acme.example") for name, scheme in (("PUBLIC_URL", "https"), ("SMTP_URL", "smtp"), ("SIEM_SYSLOG", "tls"))),
        *(("DATABASE_URL", f"postgresql://doorlist:s3cret@{host}/x") for host in ("db..acme.example", "a" * 64)),
        *(("DOORLIST_ENCRYPTION_KEY", key) for key in ("s3cret", "ü" * 43 + "=", "a" * 43)),
        *(("DOORLIST_OVERDUE_AFTER", number) for number in ("1e12", "inf", "1e300", "nan", "0", "soon")),
        *(("DOORLIST_WEB_THREADS", number) for number in ("inf", "1e9", "-1", "2.5")),
        *((f"DOORLIST_{name}", number) for name in ("WEB_PROCESSES", "DEPARTURE_WORKERS", "SYNC_WORKERS") for number in ("1.5", "inf", "0", "nan")),
        *(("DOORLIST_BODY_LIMIT", number) for number in ("inf", "1024.5", "10")),
        *(("DOORLIST_PROXIES", number) for number in ("inf", "0.5")),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_its_name_and_no_secret_is_shown(name: str, said: str) -> None:
    with pytest.raises(SettingError, match=name) as refused:
        from_environment({name: said})

    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("whom", ["DOORLIST_SIEM", "DOORLIST_CHECKPOINT"])
def test_a_token_that_no_header_may_hold_is_refused_by_its_name(whom: str) -> None:
    with pytest.raises(SettingError, match=f"{whom}_TOKEN"):
        from_environment({f"{whom}_URL": "https://siem.acme.example/", f"{whom}_TOKEN": "s3cret\n"})


def test_a_sender_that_is_no_address_is_refused_by_its_name_where_mail_is_to_be_sent() -> None:
    with pytest.raises(SettingError, match="DOORLIST_SMTP_FROM"):
        from_environment({"DOORLIST_SMTP_URL": "smtp://mail.acme.example", "DOORLIST_SMTP_FROM": "doorlist"})

    assert from_environment({"DOORLIST_SMTP_FROM": "doorlist"}).smtp_url is None


@pytest.mark.parametrize(
    ("server", "content", "why"),
    [
        ("tls://siem.acme.example", None, "cannot be read: No such file or directory"), ("tls://siem.acme.example", "no PEM\n", "holds no certificate in PEM"),
        ("tcp://siem.acme.example", "no PEM\n", "no certificate is asked for"),
    ],
)  # fmt: skip
def test_certificates_by_which_no_server_would_be_known_are_refused_by_their_name(here: Path, server: str, content: str | None, why: str) -> None:
    file = here / "ca.pem"
    if content is not None:
        file.write_text(content)

    with pytest.raises(SettingError, match=f"DOORLIST_SIEM_CA_FILE .*{why}"):
        from_environment({"DOORLIST_SIEM_SYSLOG": server, "DOORLIST_SIEM_CA_FILE": str(file)})

    assert from_environment({"DOORLIST_SIEM_CA_FILE": str(file)}).siem_syslog is None


def test_what_can_be_used_is_taken_as_it_is_said() -> None:
    said = {
        "DATABASE_URL": "postgres://doorlist:p%40ss@db.acme.example:5433/doors?connect_timeout=3",
        "DOORLIST_PUBLIC_URL": "https://doors.acme.example:8443/here/", "DOORLIST_SMTP_URL": "smtps://doorlist:p%40ss@mail.acme.example",
        "DOORLIST_SIEM_SYSLOG": "tls://siem.acme.example", "DOORLIST_SIEM_URL": "http://10.0.0.7:8088/raw?channel=1", "DOORLIST_SIEM_TOKEN": "t",
        "DOORLIST_OVERDUE_AFTER": "1e9", "DOORLIST_SYNC_WORKERS": "16.0", "DOORLIST_AUDIT_KEPT_DAYS": "inf", "DOORLIST_SCIM_RATE": "0.5",
    }  # fmt: skip

    settings = from_environment(said)

    assert settings.database_url == "postgresql+psycopg://doorlist:p%40ss@db.acme.example:5433/doors?connect_timeout=3"
    assert (settings.public_url, settings.smtp_from) == ("https://doors.acme.example:8443/here", "doorlist@doors.acme.example")
    assert settings.smtp_url == said["DOORLIST_SMTP_URL"]
    assert (settings.siem_syslog, settings.siem_url, settings.siem_token) == (said["DOORLIST_SIEM_SYSLOG"], said["DOORLIST_SIEM_URL"], "t")
    assert (settings.overdue_after, settings.sync_workers, settings.audit_kept_days, settings.scim_rate) == (1e9, 16, float("inf"), 0.5)
    assert from_environment({}).smtp_from == "doorlist@localhost"


def test_the_address_of_a_server_is_taken_as_it_was_copied() -> None:
    """Google shows the password of an application in four parts, and a secret in a file ends in a line's end."""
    settings = from_environment(
        {"DOORLIST_SMTP_URL": "smtp://ada@acme.example:abcd efgh ijkl@mail.acme.example:587\n", "DOORLIST_SIEM_SYSLOG": "tls://siem.acme.example:6514\n"}
    )

    assert settings.smtp_url is not None
    mail = urlsplit(settings.smtp_url)
    assert (unquote(mail.username or ""), unquote(mail.password or "")) == ("ada@acme.example", "abcd efgh ijkl")
    assert (mail.hostname, mail.port, settings.siem_syslog) == ("mail.acme.example", 587, "tls://siem.acme.example:6514")


def test_the_longest_time_until_a_departure_is_overdue_can_be_reckoned_with(installed: Flask) -> None:
    longest = timedelta(seconds=from_environment({"DOORLIST_OVERDUE_AFTER": "3153600000"}).overdue_after)

    with reading() as session:
        assert overdue_by_place(session, "o", now() - longest) == {}
