"""How long it took to shut people out, place by place: the middle, the slowest of a hundred, the slowest; counted in the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import CTE, BigInteger, ColumnElement, Row, Select, Text, and_, case, func, literal, select, type_coerce, union_all
from sqlalchemy.orm import Session

from app.revocation.tables import Departure, Proof

WINDOW: Final = timedelta(days=30)
LATEST: Final = 10_000
"""Over how many proofs times are taken in all, each place having the same share: asking costs the same after a year, and with many places."""
MOST_OF_ONE: Final = 5_000
_AT_ONCE: Final = 100  # SQLite joins at most 500 questions into one
_ALL: Final = ""  # no place is called so


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Milliseconds from when a departure was received; None where there was none yet. Each is one that really happened (nearest rank)."""

    count: int
    p50: int | None
    p99: int | None
    max: int | None


@dataclass(frozen=True, kw_only=True)
class Times:
    """To *shut* and to *gone*."""

    to_shut: Spread
    to_gone: Spread


NONE: Final = Spread(count=0, p50=None, p99=None, max=None)
NO_TIMES: Final = Times(to_shut=NONE, to_gone=NONE)


def times_of(session: Session, organization_id: str, places: Sequence[str], *, since: datetime, apart: str = _ALL) -> Mapping[str, Times]:
    """The times of each of these places, of what was shut since then; those without any are left out. `""` are all of them together, without `apart`.

    Beyond a hundred places, together are those of the first hundred.
    """
    found: dict[str, Times] = {}
    for start in range(0, len(places), _AT_ONCE):
        latest = _latest(organization_id, places[start : start + _AT_ONCE], since=since)
        questions = [_spread(latest, latest.c.place)]
        if start == 0:
            questions.append(_spread(latest, None, without=apart))
        found |= {row.place: _times(row) for row in session.execute(union_all(*questions)) if row.shut_n}
    return found


def _latest(organization_id: str, places: Sequence[str], *, since: datetime) -> CTE:
    """Each place's newest proofs, read from its end of the index `ix_proof_shut`; put together once, though it is asked twice."""
    each = [
        select(
            Proof.workspace_id.label("place"),
            (type_coerce(Proof.shut_at, BigInteger) - type_coerce(Departure.received_at, BigInteger)).label("shut"),
            (type_coerce(Proof.gone_at, BigInteger) - type_coerce(Departure.received_at, BigInteger)).label("gone"),
        )
        .join(Departure, and_(Departure.organization_id == Proof.organization_id, Departure.id == Proof.departure_id))
        .where(Proof.organization_id == organization_id, Proof.workspace_id == place, Proof.shut_at >= since)
        .order_by(Proof.shut_at.desc())
        .limit(min(MOST_OF_ONE, LATEST // len(places)))
        .subquery()
        for place in places
    ]
    return union_all(*(select(one.c.place, one.c.shut, one.c.gone) for one in each)).cte("latest")


def _spread(latest: CTE, by: ColumnElement[str] | None, *, without: str = _ALL) -> Select[*tuple[Any, ...]]:
    """By place, or with None over all: count, and the times at half, at 99 of 100, and at the end."""
    ranked = (
        select(
            latest.c.place,
            *(
                column
                for name in ("shut", "gone")
                for column in (
                    latest.c[name],
                    # Who is not gone yet has no time, and comes behind all who have.
                    func.row_number().over(partition_by=by, order_by=(latest.c[name].is_(None), latest.c[name])).label(f"{name}_rank"),
                    func.count(latest.c[name]).over(partition_by=by).label(f"{name}_count"),
                )
            ),
        )
        .where(latest.c.place != without)
        .subquery()
    )
    figures = [
        figure.label(f"{name}_{label}")
        for name in ("shut", "gone")
        for label, figure in (
            ("n", func.max(ranked.c[f"{name}_count"])), ("p50", _at_rank(ranked, name, 50)), ("p99", _at_rank(ranked, name, 99)),
            ("max", func.max(ranked.c[name])),
        )
    ]  # fmt: skip
    if by is None:
        return select(literal(_ALL, Text()).label("place"), *figures)
    return select(ranked.c.place, *figures).group_by(ranked.c.place)


def _at_rank(ranked: Any, name: str, percent: int) -> ColumnElement[int]:
    return func.min(case((ranked.c[f"{name}_rank"] * 100 >= ranked.c[f"{name}_count"] * percent, ranked.c[name])))


def _times(row: Row[Any]) -> Times:
    def spread(name: str) -> Spread:
        values = {label: getattr(row, f"{name}_{label}") for label in ("p50", "p99", "max")}
        return Spread(count=getattr(row, f"{name}_n") or 0, **{label: None if value is None else round(value / 1000) for label, value in values.items()})

    return Times(to_shut=spread("shut"), to_gone=spread("gone"))
