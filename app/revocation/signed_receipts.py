"""A receipt as a signed file, and checking one with nothing but public keys: which member was altered is named.

Each member has a digest, and the digests are signed. So the signature says that something differs, and the digests what.
Nothing here needs a database.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

from app.audit import notes, tree
from app.audit.notes import BadNote
from app.audit.public_keys import EvidenceKey, from_base64
from app.audit.spelling import canonical, digest_of
from app.clock import iso, parse_instant

CONTEXT: Final = b"doorlist.receipt/1\n"
"""Stands before what is signed, so that it can be taken for nothing else that the same key signs."""
MOST_FAULTS: Final = 50


class SignsEvidence(Protocol):
    """The key for evidence, as whoever holds it hands it in."""

    @property
    def kid(self) -> str: ...

    def sign_bytes(self, message: bytes) -> bytes: ...


def members(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every value that holds no other, with its place as a JSON pointer (RFC 6901)."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from members(one, f"{path}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list) and value:
        for number, one in enumerate(value):
            yield from members(one, f"{path}/{number}")
    else:
        yield path, value


def sign(receipt: Mapping[str, Any], signer: SignsEvidence, *, at: datetime) -> bytes:
    """The file: canonical JSON, so that there is one way to write it, and a line's end."""
    signed = {"at": iso(at), "kid": signer.kid, "algorithm": "Ed25519"}
    digests = {path: _digest(one) for path, one in members(dict(receipt))}
    signature = signer.sign_bytes(CONTEXT + canonical({"digests": digests, "signed": signed}))
    return canonical({"receipt": receipt, "digests": digests, "signed": signed, "signature": notes.base64_of(signature)}) + b"\n"


def _digest(value: object) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


def verify(content: bytes, keys: Mapping[str, EvidenceKey]) -> list[str]:
    """What is wrong with a signed receipt, in sentences that name the member; empty where nothing is."""
    try:
        file = json.loads(content)
        receipt, digests, signed = file["receipt"], file["digests"], file["signed"]
        kid, at = signed["kid"], parse_instant(signed["at"])
        signature = from_base64(file["signature"])
        told = {str(path): str(one) for path, one in digests.items()}
    except json.JSONDecodeError as error:
        return [f"the file cannot be read from byte {len(error.doc[: error.pos].encode()) + 1} on"]
    except UnicodeDecodeError as error:
        return [f"the file cannot be read from byte {error.start + 1} on"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ["the file is no signed receipt, or what signs it (digests, signed, signature) was altered"]
    faults = [*_altered(receipt, told)]
    key = keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        faults.append("signed: the key is not among those given")
    elif not key.signed(CONTEXT + canonical({"digests": digests, "signed": signed}), signature):
        faults.append("signature: does not fit; the receipt, the list of digests or the signature was altered")
    elif not key.in_use(at):
        faults.append(f"signed: the key was not in use at {signed['at']}")
    written = canonical(file) + b"\n"
    if not faults and content != written:
        faults.append(f"byte {_first_difference(content, written)} is not written as it was signed")
    if not faults:
        faults += _audit_faults(receipt, keys)
    return faults[:MOST_FAULTS]


def _altered(receipt: object, told: Mapping[str, str]) -> Iterator[str]:
    found = dict(members(receipt))
    for path in sorted({*found, *told}):
        name = path.removeprefix("/") or "receipt"
        if path not in found:
            yield f"{name}: was taken out"
        elif path not in told:
            yield f"{name}: was added"
        elif _digest(found[path]) != told[path]:
            yield f"{name}: was altered"


def _first_difference(one: bytes, other: bytes) -> int:
    for number, (left, right) in enumerate(zip(one, other, strict=False), start=1):
        if left != right:
            return number
    return min(len(one), len(other)) + 1


def _audit_faults(receipt: Mapping[str, Any], keys: Mapping[str, EvidenceKey]) -> Iterator[str]:
    """Whether each departure's entry is in the tree that its checkpoint vouches for, and says what the receipt says."""
    public = [key.public for key in keys.values()]
    for number, departure in enumerate(receipt.get("departures", [])):
        audit, where = departure.get("audit"), f"departures/{number}/audit"
        if audit is None:
            continue
        try:
            checkpoint = notes.opened(audit["checkpoint"], public)
            path = [bytes.fromhex(one) for one in audit["proof"]]
            if audit["text"] is None:
                continue
            leaf = json.loads(audit["text"])
            root = tree.root_from_inclusion(tree.leaf_hash(audit["text"].encode()), audit["leaf"], checkpoint.size, path)
            if root != checkpoint.root:
                yield f"{where}: the proof does not lead from the entry to the checkpoint"
            if (leaf["kind"], leaf["id"], leaf["verb"]) != ("journal", departure["entry"]["number"], departure["entry"]["verb"]):
                yield f"{where}: the entry in the tree is not the one of this departure"
            for name, one in audit["opened"].items():
                if digest_of(bytes.fromhex(one["key"]), one["value"]) != leaf.get(name):
                    yield f"{where}/opened/{name}: is not what was written down"
        except BadNote as error:
            yield f"{where}/checkpoint: {error}"
        except (ValueError, KeyError, TypeError, AttributeError):
            yield f"{where}: cannot be read"
