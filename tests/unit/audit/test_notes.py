"""Checkpoints are read as C2SP writes them, and only once somebody whom we trust has signed them."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from app.audit import notes
from app.audit.notes import BadNote, Checkpoint

ROOT = bytes(range(32))


class Key:
    """A key for evidence."""

    def __init__(self, seed: int = 1) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)

    @property
    def public_bytes(self) -> bytes:
        return self._private.public_key().public_bytes_raw()

    def sign_bytes(self, message: bytes) -> bytes:
        return self._private.sign(message)


OURS = Checkpoint(origin="id.acme.example/audit/acme", size=20, root=ROOT)


def test_a_note_has_the_form_that_the_specification_shows() -> None:
    lines = notes.signed(OURS, Key()).split("\n")

    assert lines[:4] == ["id.acme.example/audit/acme", "20", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", ""]
    assert lines[4].startswith("— id.acme.example/audit/acme ")
    assert lines[5:] == [""]


def test_a_key_is_named_as_go_names_it() -> None:
    # The key in the documentation of golang.org/x/mod/sumdb/note.
    word = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    public = base64.b64decode(word.split("+", 2)[2])[1:]

    assert notes.key_id("PeterNeumann", public).hex() == "c74f20a3"
    assert notes.verifier_key("PeterNeumann", public) == word


def test_what_was_signed_is_read_again() -> None:
    assert notes.opened(notes.signed(OURS, Key()), [Key(2).public_bytes, Key().public_bytes]) == OURS


def test_a_key_that_nobody_trusts_counts_for_nothing() -> None:
    with pytest.raises(BadNote, match="no key that is trusted"):
        notes.opened(notes.signed(OURS, Key()), [Key(2).public_bytes])


def test_signatures_of_witnesses_are_passed_over() -> None:
    witness = notes.signed(Checkpoint(origin="witness.example", size=20, root=ROOT), Key(3)).split("\n")[4]

    assert notes.opened(notes.signed(OURS, Key()) + witness + "\n", [Key().public_bytes]) == OURS


def test_a_known_key_whose_signature_does_not_fit_spoils_the_note() -> None:
    note = notes.signed(OURS, Key())

    with pytest.raises(BadNote, match="does not fit"):
        notes.opened(note.replace("\n20\n", "\n21\n"), [Key().public_bytes])


@given(st.data())
def test_no_letter_of_a_note_can_be_changed(data: st.DataObject) -> None:
    note = notes.signed(OURS, Key()).encode()
    place = data.draw(st.integers(min_value=0, max_value=len(note) - 1))
    bit = data.draw(st.integers(min_value=0, max_value=7))
    changed = bytearray(note)
    changed[place] ^= 1 << bit

    try:
        text = changed.decode()
    except UnicodeDecodeError:
        return
    with pytest.raises(BadNote):
        notes.opened(text, [Key().public_bytes])


def test_base64_that_means_the_same_and_is_spelled_otherwise_is_refused() -> None:
    note = notes.signed(OURS, Key())
    signature = note.split(" ")[-1].strip()
    last = signature[-2]
    # 68 bytes leave two bits of the last letter that decoders pass over.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = f"{signature[:-2]}{alphabet[alphabet.index(last) ^ 1]}="
    assert base64.b64decode(other) == base64.b64decode(signature)

    with pytest.raises(BadNote, match="not spelled"):
        notes.opened(note.replace(signature, other), [Key().public_bytes])


@pytest.mark.parametrize("size", ["020", "-1", "+5", "1e3", "٣", "", "4611686018427387905", "1" * 5000])
def test_a_size_that_is_no_plain_number_is_refused(size: str) -> None:
    text = f"{OURS.origin}\n{size}\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"

    with pytest.raises(BadNote):
        notes.read(text)


def test_an_origin_is_an_address_without_a_scheme_that_needs_no_space_and_no_plus() -> None:
    assert notes.origin_of("https://id.acme.example:8443/door+list/", "o1") == "id.acme.example:8443/door%2Blist/audit/o1"
