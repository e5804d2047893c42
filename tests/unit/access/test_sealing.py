"""The file of the encryption key: made once, and whole."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.access.sealing import KeyMissing, KeyUnread, make_key, seal, unseal
from app.settings import Settings, from_environment


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return from_environment({"DOORLIST_HOME": str(tmp_path / "home")})


@contextmanager
def no_room() -> Iterator[None]:
    """No file takes anything meanwhile, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_key_for_which_there_was_no_room_is_made_once_there_is(settings: Settings) -> None:
    with pytest.raises(OSError) as refused, no_room():
        make_key(settings)

    assert refused.value.filename == str(settings.home / "encryption.key"), "the sentence names it"
    assert make_key(settings) is True
    assert unseal(settings, seal(settings, "s3cret")) == "s3cret"


def test_who_interrupts_its_making_leaves_nothing_of_a_key(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as slow, pytest.raises(KeyboardInterrupt):
        slow.setattr(os, "fsync", interrupted)
        make_key(settings)

    assert make_key(settings) is True


def test_a_key_that_is_there_and_cannot_be_read_is_not_said_to_be_missing(settings: Settings) -> None:
    (settings.home / "encryption.key").mkdir(parents=True)

    with pytest.raises(KeyMissing, match=r"cannot be read: .*/encryption\.key: Is a directory"):
        seal(settings, "s3cret")


@pytest.mark.parametrize(("number", "kind"), [(errno.EMFILE, KeyUnread), (errno.EIO, KeyUnread), (errno.EACCES, KeyMissing)])
def test_a_key_that_the_machine_does_not_give_out_just_now_is_no_other_than_it_was(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[KeyMissing]
) -> None:
    make_key(settings)
    sealed = seal(settings, "s3cret")

    def fails(_path: Path) -> str:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as short, pytest.raises(KeyMissing, match=os.strerror(number)) as said:
        short.setattr(Path, "read_text", fails)
        unseal(settings, sealed)

    assert type(said.value) is kind
    assert unseal(settings, sealed) == "s3cret"


def test_a_key_that_is_there_is_kept(settings: Settings) -> None:
    assert make_key(settings) is True
    sealed = seal(settings, "s3cret")

    assert make_key(settings) is False
    assert unseal(settings, sealed) == "s3cret"
