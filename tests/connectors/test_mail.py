"""Mails over a real server: taken, refused, put off, and what is never done: a password in the clear, a header too many."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from connectors.contract import Misconfigured, Refused, Unauthorised, Unreachable
from connectors.mail import Mail, Mailer
from tests.servers.mailbox import Mailbox, certificate, open_mailbox

MAIL = Mail(to="oncall@acme.example", subject="[Doorlist Acme] urgent: it burns", text="Since noon.\n.\nGo.\n", key="0199.raised")


def mailer(box: Mailbox, url: str | None = None) -> Mailer:
    return Mailer(url or box.url, sender="doorlist@acme.example")


def test_a_mail_arrives_whole_with_what_tells_it_is_from_a_machine() -> None:
    with open_mailbox() as box:
        mailer(box).send(MAIL)

    [mail] = box.mails
    assert (mail["To"], mail["From"], mail["Subject"]) == (MAIL.to, "doorlist@acme.example", MAIL.subject)
    assert mail["Message-ID"] == "<0199.raised@acme.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content().splitlines() == MAIL.text.splitlines()
    assert box.recipients == [MAIL.to]


def test_words_of_every_script_arrive() -> None:
    with open_mailbox() as box:
        mailer(box).send(Mail(to=MAIL.to, subject="[Doorlist Großkreutz] 警告", text="Æsa 田中 went.\n", key="1"))

    assert (box.mails[0]["Subject"], box.mails[0].get_content().strip()) == ("[Doorlist Großkreutz] 警告", "Æsa 田中 went.")


def test_w11_a_line_break_in_a_subject_or_an_address_is_no_header() -> None:
    with open_mailbox() as box:
        with pytest.raises(Refused):
            mailer(box).send(Mail(to=MAIL.to, subject="x\r\nBcc: eve@evil.example", text="", key="1"))
        for address in ("a@b.example\r\nBcc: eve@evil.example", "a@b.example, eve@evil.example", "a b@c.example", "a", "", "a@", "ä@b.example"):
            with pytest.raises(Misconfigured):
                mailer(box).send(Mail(to=address, subject="x", text="", key="1"))

    assert box.mails == [] and box.recipients == []


@pytest.mark.parametrize(
    ("command", "answer", "error"),
    [
        ("RCPT", "550 no such mailbox", Refused),
        ("RCPT", "450 greylisted", Unreachable),
        ("MAIL", "552 too large", Refused),
        ("DATA", "451 later", Unreachable),
        ("MAIL", "421 going down", Unreachable),
    ],
)
def test_what_a_server_says_decides_whether_it_is_tried_again(command: str, answer: str, error: type[Exception]) -> None:
    with open_mailbox() as box:
        box.answers[command] = answer
        with pytest.raises(error):
            mailer(box).send(MAIL)

    assert box.mails == []


def test_nobody_there_is_unreachable() -> None:
    with open_mailbox() as box:
        pass

    with pytest.raises(Unreachable):
        mailer(box).send(MAIL)


def test_tls_is_demanded_and_the_certificate_is_checked(tmp_path: Path) -> None:
    context, trusted = certificate(tmp_path)
    with open_mailbox(context=context) as box:
        url = f"smtp://127.0.0.1:{box.port}"
        box.users["doorlist"] = "p:w/d"
        with pytest.raises(Misconfigured, match="certificate"):
            Mailer(url, sender="doorlist@acme.example").send(MAIL)
        Mailer(f"smtp://doorlist:p%3Aw%2Fd@127.0.0.1:{box.port}", sender="doorlist@acme.example", ca_file=trusted).send(MAIL)

    assert box.over_tls == [True]
    assert box.logged_in == ["doorlist"]


def test_a_server_without_tls_is_not_sent_to() -> None:
    with open_mailbox() as box, pytest.raises(Misconfigured, match="STARTTLS"):
        Mailer(f"smtp://127.0.0.1:{box.port}", sender="doorlist@acme.example").send(MAIL)

    assert box.mails == []


def test_a_wrong_password_is_told_without_the_password() -> None:
    with open_mailbox() as box:
        box.users["doorlist"] = "right"
        with pytest.raises(Unauthorised) as refused:
            Mailer(f"smtp://doorlist:s3cret@127.0.0.1:{box.port}?starttls=no", sender="doorlist@acme.example").send(MAIL)

    assert "s3cret" not in str(refused.value) + str(refused.value.__cause__)


@pytest.mark.parametrize(
    "url",
    [
        "http://mail.example", "smtp://", "mail.example:25", "smtp://mail.example:99999", "smtp://mail.example?tls=no",
        "smtp://mail.example/folder", "smtp://mail.example#part", "smtp://mail.example?starttls=no&p@x",
        # The password would travel in the clear to another machine.
        "smtp://u:p@mail.example?starttls=no",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_right_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        Mailer(url, sender="doorlist@acme.example")

    assert "p@" not in str(refused.value)


def test_a_server_that_never_answers_is_left_in_time() -> None:
    with open_mailbox() as box:
        box.hang = threading.Event()
        began = time.monotonic()
        with pytest.raises(Unreachable):
            Mailer(box.url, sender="doorlist@acme.example", total_seconds=0.3).send(MAIL)
        box.hang.set()

    assert time.monotonic() - began < 3
