"""The arithmetic of the audit tree (RFC 6962 §2.1): roots, growth, and proofs that stand without us. Pure: bytes in, bytes out.

A *complete subtree* has 2^level leaves and is named by its level and its number on that level. Whoever asks for a proof
hands in how the hashes of complete subtrees are found, so that nothing here has to hold a whole tree.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Subtrees = Callable[[int, int], bytes]
"""The hash of a complete subtree, given its level and number."""

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """The prefix keeps a leaf from being shown as a node, and the other way round."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(kw_only=True)
class Frontier:
    """All that has to be known of a tree to append to it and to say its root: its largest complete subtrees, from left to right.

    There is one for each bit that is set in `size`, so it never holds more than 64 hashes.
    """

    size: int = 0
    hashes: list[bytes] = field(default_factory=list)

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Take in the hash of one more leaf; returns the subtrees that became complete by it, as level, number and hash."""
        completed = []
        level, number, here = 0, self.size, leaf
        while number & 1:
            here = node_hash(self.hashes.pop(), here)
            level, number = level + 1, number >> 1
            completed.append((level, number, here))
        self.hashes.append(here)
        self.size += 1
        return completed

    def root(self) -> bytes:
        if not self.hashes:
            return EMPTY_ROOT
        *others, here = self.hashes
        for left in reversed(others):
            here = node_hash(left, here)
        return here

    def copy(self) -> "Frontier":
        return Frontier(size=self.size, hashes=list(self.hashes))


def frontier_at(size: int, subtrees: Subtrees) -> Frontier:
    """The frontier of the first `size` leaves."""
    hashes, start = [], 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            hashes.append(subtrees(level, start >> level))
            start += 1 << level
    return Frontier(size=size, hashes=hashes)


def root_at(size: int, subtrees: Subtrees) -> bytes:
    return frontier_at(size, subtrees).root()


def _split(size: int) -> int:
    """The largest power of two below `size`: where RFC 6962 parts a tree in two."""
    return 1 << (size - 1).bit_length() - 1


def _range_root(start: int, end: int, subtrees: Subtrees) -> bytes:
    # Every range that RFC 6962 asks for begins at a multiple of its size rounded up to a power of two.
    size = end - start
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return subtrees(level, start >> level)
    middle = start + _split(size)
    return node_hash(_range_root(start, middle, subtrees), _range_root(middle, end, subtrees))


def inclusion_proof(index: int, size: int, subtrees: Subtrees) -> list[bytes]:
    """The audit path of one leaf in the tree of `size` leaves (RFC 6962 §2.1.1), from the leaf up."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return [_range_root(*one, subtrees) for one in reversed(path)]


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that this path leads to (RFC 9162 §2.1.3.2); None where the path does not fit such a tree at all."""
    if not 0 <= index < size:
        return None
    number, last, here = index, size - 1, leaf
    for one in path:
        if last == 0:
            return None
        if number & 1 or number == last:
            here = node_hash(one, here)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            here = node_hash(here, one)
        number, last = number >> 1, last >> 1
    return here if last == 0 else None


def consistency_proof(old: int, new: int, subtrees: Subtrees) -> list[bytes]:
    """That the tree of `new` leaves begins with the tree of `old` ones (RFC 6962 §2.1.2)."""
    if not 0 < old <= new:
        raise ValueError(f"no proof leads from {old} leaves to {new}")
    path: list[tuple[int, int]] = []
    start, end, whole = 0, new, True
    while start < old < end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start, whole = middle, False
    # The old tree's own last subtree is left out where it is the old tree as a whole: its root is known.
    if not whole:
        path.append((start, end))
    return [_range_root(*one, subtrees) for one in reversed(path)]


def consistent(old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether this proof shows that nothing of the old tree was changed or taken out (RFC 9162 §2.1.4.2)."""
    if old == new:
        return not path and old_root == new_root
    if not 0 < old < new:
        return old == 0 and not path and old_root == EMPTY_ROOT
    hashes = list(path)
    if old & (old - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        return False
    number, last = old - 1, new - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    ours = theirs = hashes[0]
    for one in hashes[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            ours, theirs = node_hash(one, ours), node_hash(one, theirs)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            theirs = node_hash(theirs, one)
        number, last = number >> 1, last >> 1
    return last == 0 and ours == old_root and theirs == new_root
