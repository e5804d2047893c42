"""A figure beside its floor, and the one table that they are printed in."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from rich.console import Console
from rich.table import Table

WIDTH: Final = 150


class Unit(StrEnum):
    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "µs"
    MEGABYTES = "MB"


@dataclass(frozen=True, kw_only=True)
class Bound:
    """At most `times` the floor and `plus` more, in the figure's unit."""

    times: float
    plus: float = 0.0

    def allows(self, measured: float, floor: float) -> bool:
        return measured <= floor * self.times + self.plus

    def said(self, unit: Unit) -> str:
        return f"≤ {self.times:g}×" + (f" + {self.plus:g} {unit}" if self.plus else "")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What was measured. Without a floor it stands alone; without a bound nothing was promised of it."""

    what: str
    unit: Unit
    measured: float
    floor: float | None = None
    floor_is: str = ""
    bound: Bound | None = None

    @property
    def misses(self) -> bool:
        return self.bound is not None and self.floor is not None and not self.bound.allows(self.measured, self.floor)

    def row(self) -> tuple[str, ...]:
        ratio = f"{self.measured / self.floor:.2f}" if self.floor else ""
        return (
            self.what,
            _said(self.measured, self.unit),
            "" if self.floor is None else _said(self.floor, self.unit),
            self.floor_is,
            ratio,
            "" if self.bound is None else self.bound.said(self.unit),
            "" if self.bound is None else "MISSES" if self.misses else "holds",
        )


def show(figures: Sequence[Figure]) -> None:
    table = Table(title="Each figure beside its floor, measured in the same run")
    table.add_column("what")
    table.add_column("measured", justify="right")
    table.add_column("floor", justify="right")
    table.add_column("the floor is")
    table.add_column("ratio", justify="right")
    table.add_column("asked", justify="right")
    table.add_column("")
    for figure in figures:
        table.add_row(*figure.row(), style="bold red" if figure.misses else None)
    Console(width=WIDTH).print(table)


def middle(values: Sequence[float]) -> float:
    """The median, as a value that really happened."""
    return sorted(values)[(len(values) - 1) // 2]


def _said(value: float, unit: Unit) -> str:
    return f"{value:,.{2 if unit is Unit.SECONDS else 0}f} {unit}"
