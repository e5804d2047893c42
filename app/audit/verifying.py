"""Checking an exported audit with nothing but the file and public keys: what differs is named, by line and by leaf.

Two things are asked. Is the file what was exported: its last line is signed, and holds a mark of each line. And is what
it tells the one history that was signed: leaves have to lead, hash by hash, to every checkpoint, here and elsewhere.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final

from app.audit import notes, tree
from app.audit.contents import Contents
from app.audit.notes import BadNote, Checkpoint
from app.audit.public_keys import EvidenceKey, from_base64
from app.audit.spelling import END, MARK, SCHEMA, canonical, digest_of
from app.clock import iso, parse_instant

MOST_FAULTS: Final = 50
LATE: Final = timedelta(minutes=10)
"""An entry that is this much older than its place was written down late, or by a clock that was turned back."""
# The last comes of numbers beyond all calendars, such as 1e999.
_UNREADABLE: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What differs, and where: `line` counts from one, `leaf` from nought."""

    what: str
    line: int | None = None
    leaf: int | None = None

    def __str__(self) -> str:
        where = [f"line {self.line}" if self.line is not None else "", f"leaf {self.leaf}" if self.leaf is not None else ""]
        return ": ".join([", ".join(one for one in where if one), self.what]) if any(where) else self.what


@dataclass(kw_only=True)
class Verdict:
    """`faults` say that it is not what was exported and signed; `remarks` are what an auditor should look at all the same."""

    faults: list[Fault] = field(default_factory=list)
    remarks: list[Fault] = field(default_factory=list)
    origin: str = ""
    first: int = 0
    end: int = 0
    opened: int = 0
    without_content: int = 0
    checkpoints: int = 0

    @property
    def good(self) -> bool:
        return not self.faults

    def fault(self, what: str, *, line: int | None = None, leaf: int | None = None) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(Fault(what=what, line=line, leaf=leaf))

    def remark(self, what: str, *, line: int | None = None, leaf: int | None = None) -> None:
        if len(self.remarks) < MOST_FAULTS:
            self.remarks.append(Fault(what=what, line=line, leaf=leaf))


def verify_export(path: Path, keys: Mapping[str, EvidenceKey], *, elsewhere: Sequence[str] = ()) -> Verdict:
    """Check a file. `elsewhere` are checkpoints that were published: the file must be the same history as they. Raises OSError."""
    verdict = Verdict()
    _check_lines(path, keys, verdict)
    telling = _Telling(verdict, keys, elsewhere)
    telling.read(path)
    verdict.faults = [replace(one, leaf=telling.leaves.get(one.line or 0, one.leaf)) for one in verdict.faults]
    return verdict


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _check_lines(path: Path, keys: Mapping[str, EvidenceKey], verdict: Verdict) -> None:
    """Whether each line is what it was when the file was signed, and by a key that was in use then."""
    marks: list[bytes] = []
    whole, last = hashlib.sha256(), b""
    exported = None
    for line in _lines(path):
        if not marks and last:
            exported = _exported(last)
        if last:
            whole.update(last)
            marks.append(hashlib.sha256(last).digest()[:MARK])
        last = line
    end = _end(last, keys)
    if isinstance(end, str):
        verdict.fault(end, line=len(marks) + 1)
        return
    told = [end.marks[start : start + MARK] for start in range(0, len(end.marks), MARK)]
    before = len(verdict.faults)
    _compare(told, marks, verdict)
    if exported is not None and not end.key.in_use(exported):
        verdict.fault("is signed with a key that was not in use when the file says that it was exported", line=len(marks) + 1)
    if end.key.withdrawn is not None:
        verdict.remark(
            f"is signed with a key that was withdrawn at {iso(end.key.withdrawn)}: whoever else has it may have made this file, and dated it back",
            line=len(marks) + 1,
        )
    if len(verdict.faults) == before and (end.sha256 != whole.hexdigest() or end.lines != len(marks)):
        verdict.fault("the file as a whole is not what was signed")


@dataclass(frozen=True, kw_only=True)
class _End:
    lines: int
    sha256: str
    marks: bytes
    key: EvidenceKey


def _exported(first: bytes) -> datetime | None:
    """When the file says that it was made."""
    try:
        return parse_instant(json.loads(first)["exported"])
    except _UNREADABLE:
        return None


def _end(line: bytes, keys: Mapping[str, EvidenceKey]) -> _End | str:
    """What the last line says, once it is seen to be signed; else what is wrong with it."""
    try:
        said = json.loads(line)
        end, kid = said["end"], said["kid"]
        signature, marks = from_base64(said["signature"]), from_base64(end["marks"])
        lines, sha256 = int(end["lines"]), str(end["sha256"])
    except _UNREADABLE:
        return "the signed end is not there: the file was cut off, or its last line was altered"
    key = keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        return "the end is signed with a key that is not among those given"
    if not key.signed(END + canonical(end), signature) or canonical(said) + b"\n" != line:
        return "the signed end was altered"
    return _End(lines=lines, sha256=sha256, marks=marks, key=key)


def _compare(told: Sequence[bytes], found: Sequence[bytes], verdict: Verdict) -> None:
    """Name the lines that are not what they were, taking a line that was added, taken out or moved for what it is."""
    if told == found:
        return
    here, there = set(found), {mark: number for number, mark in reversed(list(enumerate(told, start=1)))}
    mine = theirs = 0
    while mine < len(told) or theirs < len(found):
        expected = told[mine] if mine < len(told) else None
        actual = found[theirs] if theirs < len(found) else None
        if expected == actual:
            mine, theirs = mine + 1, theirs + 1
        elif actual is not None and actual not in there:
            if expected is not None and expected not in here:
                verdict.fault("was altered", line=theirs + 1)
                mine += 1
            else:
                verdict.fault("was added", line=theirs + 1)
            theirs += 1
        elif expected is not None and expected not in here:
            verdict.fault(f"line {mine + 1} of what was exported was taken out", line=theirs + 1)
            mine += 1
        else:
            if actual is not None:
                verdict.fault(f"stands in another place: it was line {there[actual]}", line=theirs + 1)
            mine, theirs = mine + (expected is not None), theirs + (actual is not None)


class _Telling:
    """Follows what the file tells, leaf by leaf, and holds it against each checkpoint."""

    def __init__(self, verdict: Verdict, keys: Mapping[str, EvidenceKey], elsewhere: Sequence[str]) -> None:
        self._verdict = verdict
        self._public = [key.public for key in keys.values()]
        self._frontier = tree.Frontier()
        # Once a leaf is missing no root can come out any more; what follows is checked only for itself.
        self._whole = True
        self._good_until = 0
        self._last_at: datetime | None = None
        self._sequenced = ""
        self._elsewhere = elsewhere
        self._published: dict[int, list[Checkpoint]] = {}
        self._faulty = {one.line for one in verdict.faults}
        self._contents: Contents | None = None
        self.leaves: dict[int, int] = {}
        """Which leaf stands, by its own word, in a line that is known to be at fault."""

    def read(self, path: Path) -> None:
        lines = enumerate(_lines(path), start=1)
        number, first = next(lines, (1, b""))
        if not self._begin(first):
            self._verdict.fault("does not say what the file holds", line=number)
            return
        for number, line in lines:
            try:
                said = json.loads(line)
                if "leaf" in said:
                    self._leaf(number, said)
                elif "checkpoint" in said:
                    self._checkpoint(number, said)
                elif "end" not in said:
                    self._verdict.fault("is nothing that such a file holds", line=number)
            except _UNREADABLE:
                self._whole = False
                self._verdict.fault("cannot be read", line=number)
        self._finish()

    def _begin(self, line: bytes) -> bool:
        try:
            said = json.loads(line)
            if said["schema"] != SCHEMA:
                return False
            before = [bytes.fromhex(one) for one in said["before"]]
            self._verdict.origin, self._verdict.first, self._verdict.end = str(said["origin"]), int(said["first"]), int(said["end"])
            # Older files do not say what became of their content.
            if "kept_days" in said:
                exported, kept = parse_instant(said["exported"]), timedelta(days=int(said["kept_days"]))
                self._contents = Contents(exported=exported, kept=kept)
        except _UNREADABLE:
            return False
        if len(before) != self._verdict.first.bit_count():
            return False
        self._frontier = tree.Frontier(size=self._verdict.first, hashes=before)
        self._good_until = self._verdict.first
        for note in self._elsewhere:
            self._take(note)
        return True

    def _take(self, note: str) -> None:
        try:
            checkpoint = notes.opened(note, self._public)
        except BadNote as error:
            self._verdict.fault(f"the checkpoint from elsewhere is not good: {error}")
            return
        if checkpoint.origin != self._verdict.origin:
            self._verdict.fault(f"the checkpoint from elsewhere is of {checkpoint.origin}, not of {self._verdict.origin}")
        elif not self._verdict.first < checkpoint.size <= self._verdict.end:
            self._verdict.remark(f"the checkpoint of {checkpoint.size} leaves from elsewhere lies outside of this file, and was not compared")
        else:
            self._published.setdefault(checkpoint.size, []).append(checkpoint)

    def _leaf(self, line: int, said: dict[str, Any]) -> None:
        number = said["leaf"]
        if not isinstance(number, int):
            raise ValueError("no number of a leaf")
        if line in self._faulty:
            self.leaves[line] = number
        if number != self._frontier.size:
            self._whole = False
            missing = "is missing" if number > self._frontier.size else "stands where another should"
            self._verdict.fault(f"leaf {self._frontier.size} {missing}", line=line, leaf=number)
            self._frontier.size = number
        if "text" in said:
            hashed = tree.leaf_hash(str(said["text"]).encode("utf-8", "surrogatepass"))
            self._content(line, number, said)
        else:
            hashed = from_base64(said["hash"])
            if self._contents is not None:
                self._contents.gone(line, number, sequenced=parse_instant(said["sequenced"]))
        if said.get("row", ...) is None:
            self._verdict.fault("the row that it was made from is gone", line=line, leaf=number)
        if self._whole:
            self._frontier.append(hashed)
        else:
            self._frontier.size += 1
        for checkpoint in self._published.pop(self._frontier.size, []):
            self._hold_against(checkpoint, line, "the checkpoint from elsewhere")

    def _content(self, line: int, number: int, said: dict[str, Any]) -> None:
        leaf = json.loads(said["text"])
        if leaf["sequenced"] < self._sequenced:
            self._verdict.fault("was appended at an earlier instant than the leaf before it: the clock went back", line=line, leaf=number)
        self._sequenced = max(self._sequenced, leaf["sequenced"])
        if parse_instant(leaf["sequenced"]) - parse_instant(leaf["at"]) > LATE:
            self._verdict.remark(f"says {leaf['at']} and was appended only at {leaf['sequenced']}", line=line, leaf=number)
        opened, row = said.get("opened", {}), said.get("row") or {}
        for name, one in opened.items():
            self._verdict.opened += 1
            if digest_of(bytes.fromhex(one["key"]), one["value"]) != leaf.get(name):
                missing = one["value"] in (None, "")
                self._verdict.fault(f"'{name}' is {'there no more' if missing else 'not what was written down'}", line=line, leaf=number)
        for name in row:
            self._verdict.fault(f"'{name}' of its row is not what was written down", line=line, leaf=number)
        if self._contents is not None:
            self._contents.there(line, number, leaf, opened="opened" in said or said.get("row", ...) is None)

    def _checkpoint(self, line: int, said: dict[str, Any]) -> None:
        self._verdict.checkpoints += 1
        at = parse_instant(said["at"])
        if self._last_at is not None and at < self._last_at:
            self._verdict.fault("was signed before the checkpoint that it follows", line=line)
        self._last_at = at
        try:
            checkpoint = notes.opened(said["checkpoint"], self._public)
        except BadNote as error:
            self._verdict.fault(f"the checkpoint is not good: {error}", line=line)
            return
        if checkpoint.origin != self._verdict.origin:
            self._verdict.fault(f"is a checkpoint of {checkpoint.origin}, not of {self._verdict.origin}", line=line)
        elif "consistency" in said:
            self._lead_on(checkpoint, [from_base64(one) for one in said["consistency"]], line)
        elif checkpoint.size != self._frontier.size:
            self._verdict.fault(f"is the checkpoint of {checkpoint.size} leaves, but {self._frontier.size} came before it", line=line)
        else:
            self._hold_against(checkpoint, line, "the checkpoint")

    def _hold_against(self, checkpoint: Checkpoint, line: int, which: str) -> None:
        if not self._whole:
            return
        if self._frontier.root() == checkpoint.root:
            self._good_until = checkpoint.size
            return
        self._whole = False
        self._verdict.fault(
            f"leaves {self._good_until} to {checkpoint.size - 1} are not those that were signed: {which} of {checkpoint.size} leaves has another root",
            line=line,
        )

    def _lead_on(self, checkpoint: Checkpoint, proof: list[bytes], line: int) -> None:
        if not self._whole:
            return
        if tree.consistent(self._frontier.size, self._frontier.root(), checkpoint.size, checkpoint.root, proof):
            self._good_until = self._frontier.size
        else:
            self._whole = False
            self._verdict.fault(f"the leaves do not lead to the checkpoint of {checkpoint.size} leaves", line=line)

    def _finish(self) -> None:
        if self._contents is not None:
            self._verdict.without_content = self._contents.missing
            for run, what in self._contents.taken_out():
                self._verdict.fault(what, line=run.line, leaf=run.first)
            # First, and whatever else is remarked upon: of entries that came late there may be any number.
            gone = (Fault(what=what, line=run.line, leaf=run.first) for run, what in self._contents.unexplained())
            self._verdict.remarks[:0] = islice(gone, MOST_FAULTS)
        if self._frontier.size != self._verdict.end:
            self._verdict.fault(f"the file should go on to leaf {self._verdict.end - 1}, and ends at leaf {self._frontier.size - 1}")
        elif self._whole and self._good_until != self._verdict.end:
            self._verdict.fault(f"no checkpoint vouches for leaves {self._good_until} to {self._verdict.end - 1}")
