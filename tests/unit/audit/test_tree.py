"""The tree's arithmetic, against the definition in RFC 6962 and against its published values."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.audit import tree
from app.audit.tree import Frontier

# The leaves and roots that Certificate Transparency's own test suites use.
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def root_of(leaves: list[bytes]) -> bytes:
    """As RFC 6962 §2.1 defines it, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + root_of(leaves[:split]) + root_of(leaves[split:])).digest()


def subtrees_of(leaves: list[bytes]) -> tree.Subtrees:
    return lambda level, number: root_of(leaves[number << level : (number + 1) << level])


def made(count: int) -> list[bytes]:
    return [str(number).encode() for number in range(count)]


def test_the_published_roots_come_out() -> None:
    frontier = Frontier()

    found = []
    for leaf in LEAVES:
        frontier.append(tree.leaf_hash(leaf))
        found.append(frontier.root().hex())

    assert found == ROOTS


@given(st.integers(min_value=0, max_value=130))
def test_growing_leaf_by_leaf_gives_the_root_of_the_definition(size: int) -> None:
    leaves = made(size)
    frontier = Frontier()

    for leaf in leaves:
        frontier.append(tree.leaf_hash(leaf))

    assert frontier.root() == root_of(leaves)
    assert tree.frontier_at(size, subtrees_of(leaves)) == frontier


def test_growing_says_which_subtrees_became_complete() -> None:
    leaves, frontier = made(64), Frontier()

    completed = [one for leaf in leaves for one in frontier.append(tree.leaf_hash(leaf))]

    assert len(completed) == 63
    assert all(subtrees_of(leaves)(level, number) == found for level, number, found in completed)


@given(st.integers(min_value=1, max_value=130), st.data())
def test_an_inclusion_proof_leads_to_the_root_and_nowhere_else(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    leaves = made(size)

    path = tree.inclusion_proof(index, size, subtrees_of(leaves))

    assert tree.root_from_inclusion(tree.leaf_hash(leaves[index]), index, size, path) == root_of(leaves)
    assert tree.root_from_inclusion(tree.leaf_hash(b"another"), index, size, path) != root_of(leaves)
    assert tree.root_from_inclusion(tree.leaf_hash(leaves[index]), index, size, [*path, b"\0" * 32]) is None
    if path:
        assert tree.root_from_inclusion(tree.leaf_hash(leaves[index]), index, size, path[:-1]) != root_of(leaves)


@given(st.integers(min_value=1, max_value=130), st.data())
def test_a_consistency_proof_holds_for_the_old_tree_and_no_other(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(min_value=1, max_value=new))
    leaves = made(new)
    changed = [b"changed", *leaves[1:]]

    path = tree.consistency_proof(old, new, subtrees_of(leaves))

    assert tree.consistent(old, root_of(leaves[:old]), new, root_of(leaves), path)
    assert not tree.consistent(old, root_of(changed[:old]), new, root_of(leaves), path)
    assert not tree.consistent(old, root_of(leaves[:old]), new, root_of(changed), path)
    assert not tree.consistent(old, root_of(leaves[:old]), new, root_of(leaves), [*path, b"\0" * 32])


@pytest.mark.parametrize(("old", "new", "length"), [(1, 1, 0), (3, 7, 4), (4, 7, 1), (6, 7, 3), (4, 8, 1), (7, 8, 4)])
def test_consistency_proofs_are_as_long_as_the_standard_says(old: int, new: int, length: int) -> None:
    assert len(tree.consistency_proof(old, new, subtrees_of(made(new)))) == length


def test_from_nothing_everything_follows_but_only_from_the_root_of_nothing() -> None:
    assert tree.consistent(0, tree.EMPTY_ROOT, 5, root_of(made(5)), [])
    assert not tree.consistent(0, b"\1" * 32, 5, root_of(made(5)), [])
    assert not tree.consistent(5, root_of(made(5)), 3, root_of(made(3)), [])


def test_a_tree_of_two_to_the_forty_takes_forty_hashes_to_prove() -> None:
    asked: list[tuple[int, int]] = []

    def subtrees(level: int, number: int) -> bytes:
        asked.append((level, number))
        return b"\0" * 32

    tree.inclusion_proof(12_345, 1 << 40, subtrees)

    assert len(asked) == 40
