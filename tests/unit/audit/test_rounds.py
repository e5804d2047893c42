"""Rounds through the stored tree find what was altered far back, stay there until it is mended, and cost the same whatever the size."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Executable, delete, event, select, update
from sqlalchemy.orm import Session

from app.audit import retention, rounds, tree
from app.audit.rounds import BLOCK, Looked
from app.audit.tree_tables import AuditCheckpoint, AuditDelivery, AuditLeaf, AuditNode, AuditTree
from app.database import db, in_transaction, one_moment, transaction
from tests.two_at_once import meanwhile
from tests.unit.audit.growing import AT, Ledger, later
from tests.unit.audit.tampering import garbled_leaf, tampered

pytestmark = pytest.mark.slow

SIZE = 2 * BLOCK + 10


def _grows(ledger: Ledger, count: int = SIZE) -> None:
    ledger.writes(count)
    ledger.passes(batch=1000)
    ledger.signs()


def _looks(organization_id: str = "acme", *, blocks: int = 10) -> Looked:
    with one_moment() as session:
        looked = rounds.look(session, organization_id, blocks=blocks)
    with transaction() as session:
        rounds.note(session, organization_id, looked, at=AT)
    return looked


def _leaf(number: int) -> AuditLeaf:
    with transaction() as session:
        return session.get_one(AuditLeaf, ("acme", number))


def test_a_round_goes_on_where_it_was_and_begins_again_at_the_end(ledger: Ledger) -> None:
    _grows(ledger)

    assert [_looks(blocks=1).next for _ in range(4)] == [BLOCK, 2 * BLOCK, 0, BLOCK]


def test_it_comes_round_although_the_tree_grows_all_the_time(ledger: Ledger) -> None:
    _grows(ledger)
    _looks()
    ledger.writes(5)
    ledger.passes(later(60))

    assert _looks(blocks=1).next == BLOCK


def test_the_first_two_that_look_at_a_tree_at_once_are_no_fault(ledger: Ledger) -> None:
    _grows(ledger, 10)

    def notes(session: Session, number: int) -> None:
        rounds.note(session, "acme", Looked(blocks=1, next=number), at=AT)

    meanwhile(ledger.app, lambda session: notes(session, 1), lambda: in_transaction(lambda session: notes(session, 2)))

    with transaction() as session:
        assert session.get_one(AuditDelivery, ("acme", rounds.RECEIVER)).next == 2


OTHER = '{"v":1}'


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (delete(AuditLeaf).where(AuditLeaf.number == 3), "leaf 3 is missing"),
        (delete(AuditLeaf).where(AuditLeaf.number == SIZE - 1), f"leaf {SIZE - 1} is missing"),
        (update(AuditLeaf).where(AuditLeaf.number == 7).values(leaf=OTHER), "leaf 7 is not what it was"),
        (update(AuditLeaf).where(AuditLeaf.number == 7).values(hash=b"\1" * 32), "leaf 7 is not what it was"),
        (update(AuditLeaf).where(AuditLeaf.number == 7).values(leaf=None, salt=None), "leaf 7 has lost its text, and is not old enough for that"),
        (update(AuditLeaf).where(AuditLeaf.number == 7).values(sequenced_at=later(-1)), "leaf 7 was appended at another instant than is stored beside it"),
        (update(AuditLeaf).where(AuditLeaf.number == 300).values(leaf=OTHER, hash=tree.leaf_hash(OTHER.encode())), "leaves 256 to 511 do not lead to"),
        (update(AuditNode).where(AuditNode.number == 1).values(hash=b"\1" * 32), "leaves 256 to 511 do not lead to"),
        (update(AuditLeaf).where(AuditLeaf.number == SIZE - 1).values(leaf=OTHER, hash=tree.leaf_hash(OTHER.encode())), "do not lead to its root any more"),
        (delete(AuditCheckpoint), f"the checkpoint of {SIZE} leaves is missing"),
    ],
)
def test_whatever_was_altered_is_named_and_stays_so(ledger: Ledger, change: Executable, broken: str) -> None:
    _grows(ledger)
    tampered(change)

    first, second = _looks(), _looks()

    assert first.broken is not None and broken in first.broken
    assert (second.broken, second.next, second.blocks) == (first.broken, first.next, 1)


def test_a_leaf_that_is_no_text_is_not_what_it_was(ledger: Ledger) -> None:
    _grows(ledger)
    if not (change := garbled_leaf(7, leaf=b"\xff")):
        pytest.skip("PostgreSQL takes nothing there of another kind")
    tampered(*change)

    assert _looks().broken == "leaf 7 is not what it was"


def test_hashes_that_are_none_lead_nowhere(ledger: Ledger) -> None:
    _grows(ledger)
    if not (change := garbled_leaf(300, leaf=None, hash="soon")):
        pytest.skip("PostgreSQL takes nothing there of another kind")
    tampered(*change, update(AuditTree).values(pruned=301))

    assert "is no hash" in str(_looks().broken)


def test_what_was_mended_is_gone_on_from(ledger: Ledger) -> None:
    _grows(ledger)
    was = _leaf(300).leaf
    mine = update(AuditLeaf).where(AuditLeaf.number == 300)
    tampered(mine.values(leaf=OTHER))
    assert _looks().broken == "leaf 300 is not what it was"

    tampered(mine.values(leaf=was))

    assert _looks() == Looked(blocks=2, next=0)


def test_hashes_far_up_are_looked_at_when_the_last_leaf_below_them_is(ledger: Ledger) -> None:
    """Of 65,536 leaves as they would be stored, of which only the last 256 are there."""
    leaves = [str(number).encode() for number in range(BLOCK)]
    frontier = tree.Frontier()
    for leaf in leaves:
        frontier.append(tree.leaf_hash(leaf))
    nodes = [*(tree.leaf_hash(b"node" + str(number).encode()) for number in range(BLOCK - 1)), frontier.root()]
    above = tree.Frontier()
    for node in nodes:
        above.append(node)
    first = BLOCK * (BLOCK - 1)
    with transaction() as session:
        size = BLOCK * BLOCK
        session.add(AuditTree(organization_id="acme", origin="o", size=size, frontier=[above.root().hex()], sequenced_at=AT, checkpoint_size=0, pruned=0))
        session.add_all(AuditNode(organization_id="acme", level=8, number=number, hash=node) for number, node in enumerate(nodes))
        session.add(AuditNode(organization_id="acme", level=16, number=0, hash=above.root()))
        for number, leaf in enumerate(leaves, start=first):
            hashed = tree.leaf_hash(leaf)
            session.add(AuditLeaf(organization_id="acme", number=number, kind="journal", source_id=number, sequenced_at=AT, hash=hashed, leaf=leaf.decode(), salt=b""))
        rounds.note(session, "acme", Looked(blocks=0, next=first), at=AT)
    assert _looks() == Looked(blocks=1, next=0)

    with transaction() as session:
        session.execute(update(AuditNode).where(AuditNode.level == 8, AuditNode.number == 4).values(hash=b"\1" * 32))
        rounds.note(session, "acme", Looked(blocks=0, next=first), at=AT)

    assert _looks().broken == "leaves 0 to 65535 do not lead to the hash that is stored of them"


def test_what_went_for_its_age_is_not_missed(ledger: Ledger) -> None:
    _grows(ledger, 20)
    with transaction() as session:
        assert retention.prune(session, "acme", at=later(180), kept=timedelta(seconds=90)) == 20

    assert _looks().broken is None


def test_trees_take_turns_from_the_one_that_waited_longest(ledger: Ledger) -> None:
    ledger.writes(1)
    ledger.writes(1, "globex")
    ledger.passes()
    _looks("acme")

    with transaction() as session:
        assert list(rounds.in_turn(session, most=10)) == ["globex", "acme"]
        rounds.note(session, "globex", Looked(blocks=1, next=0), at=later(60))
        assert list(rounds.in_turn(session, most=10)) == ["acme", "globex"]
        assert list(rounds.in_turn(session, most=1)) == ["acme"]


def test_a_block_costs_the_same_in_a_large_tree(ledger: Ledger) -> None:
    def leaves_read() -> int:
        told: list[int] = []

        def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
            told.append("audit_leaf" in statement)

        event.listen(db.engine, "before_cursor_execute", note)
        _looks(blocks=1)
        event.remove(db.engine, "before_cursor_execute", note)
        return sum(told)

    _grows(ledger, BLOCK + 1)
    few = leaves_read()
    _grows(ledger, 4 * BLOCK)
    _looks()

    assert leaves_read() == few
    with transaction() as session:
        assert len(session.scalars(select(AuditNode)).all()) == 5
