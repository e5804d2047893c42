"""What a mover is told, as receipts show it: each change, the channels that were joined and left, and what can be read there."""

from typing import Any

from sqlalchemy.orm import Session

from app.clock import iso
from app.rules.move_receipts import MoveTold, moves_of
from app.rules.move_tables import MoveLine, Step
from connectors.registry import history_of


def moves(session: Session, organization_id: str, person_id: str, *, informed: bool) -> list[dict[str, Any]]:
    """Every move of a person, the latest first. Who said so and why is for those who are told such things. Only reads."""
    return [_move(one, informed=informed) for one in moves_of(session, organization_id, person_id)]


def _move(told: MoveTold, *, informed: bool) -> dict[str, Any]:
    entry = told.entry if informed else None
    return {
        "at": iso(told.move.at),
        "because": None if entry is None else {
            "entry": entry.id, "at": iso(entry.at), "verb": entry.verb, "actor": entry.actor, "because": entry.because,
        },
        "changed": [{"attribute": one.attribute, "before": one.before, "after": one.after} for one in told.changed] if informed else [],
        "channels": [_line(line, workspace.name, workspace.kind) for line, workspace in told.lines],
    }  # fmt: skip


def _line(line: MoveLine, workspace: str, kind: str) -> dict[str, Any]:
    what = {Step.JOINS: "joined", Step.LEAVES: "left"}[Step(line.step)]
    history = history_of(kind)
    return {
        "workspace": workspace, "channel": line.name, "what": what if line.withdrawn_at is None else f"was to be {what}, and called off",
        "since": iso(line.done_at), "kept_until": iso(line.until) if line.done_at is None and line.withdrawn_at is None else None,
        "readable": None if history is None else history.joined if line.step == Step.JOINS else history.left,
    }  # fmt: skip


def rows(moves: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    """One line for each channel, as tables show it."""
    return [
        (one["at"], line["workspace"], line["what"], line["channel"], line["since"] or "not yet", line["kept_until"], line["readable"])
        for one in moves
        for line in one["channels"]
    ]
