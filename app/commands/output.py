"""How a verb's answer is shown: one JSON object, a table on a terminal, tab-separated values in a pipe."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import TextIOWrapper
from select import POLLERR, POLLHUP, poll

import click

from app.commands.exits import Exit, Failure


@dataclass(frozen=True, kw_only=True)
class Table:
    columns: tuple[str, ...]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a verb found or did. `fields` is what `--json` prints, `tables` are for people, `notes` go to stderr."""

    schema: str
    fields: Mapping[str, object] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    exit: Exit = Exit.DONE


def plain(value: object) -> str:
    """One cell of a table. What could move the cursor or break the line becomes a space: names come from outside."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "".join(letter if letter.isprintable() else " " for letter in str(value))


def is_terminal() -> bool:
    """Whether a person reads; nobody does where the output was closed before we began."""
    # What the types leave out: Python has no stdout at all then.
    return bool(sys.stdout) and sys.stdout.isatty()


def fill_closed() -> None:
    """Let what is said on a stream that was closed before we began be heard by nobody.

    Else the next file or connection that is opened would get its number, and what libraries, or the processes that we start, say there would go into that.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # Python had none to begin with.
    if not sys.stderr:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115  # it stays open to the end


def spell_out() -> None:
    """Show what a terminal has no letter for, a name from elsewhere on one of ISO 8859-1 for instance, by its number; Python would end there."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def nobody_reads() -> bool:
    """Whether whoever read what we print has gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            asked = poll()
            asked.register(stream.fileno(), 0)
        except (AttributeError, OSError, ValueError):
            continue
        if any(event & (POLLERR | POLLHUP) for _, event in asked.poll(0)):
            return True
    return False


def let_go() -> None:
    """Give up what cannot be written: else Python would try it once more at its end, complain, and end with a code of its own."""
    for name in ("stdout", "stderr"):
        try:
            if stream := getattr(sys, name):
                stream.flush()
        except (OSError, ValueError):
            setattr(sys, name, None)


def show(answer: Answer, *, as_json: bool) -> None:
    """Print an answer; with `as_json` exactly one object on stdout and nothing else anywhere."""
    if as_json:
        click.echo(json.dumps({"schema": f"doorlist.{answer.schema}/1", **answer.fields}))
        return
    for note in answer.notes:
        tell(plain(note))
    for table in answer.tables:
        if is_terminal():
            _draw(table)
        else:
            for row in (table.columns, *table.rows):
                click.echo("\t".join(plain(cell) for cell in row))


def tell(sentence: str) -> None:
    """Say something on stderr, of what is being done or was found; where nobody reads that any more, the rest is done all the same."""
    with suppress(BrokenPipeError):
        click.echo(sentence, err=True)


def show_failure(failure: Failure, *, as_json: bool) -> None:
    """Print an error: on stdout as JSON where JSON was asked for, else as one line on stderr."""
    if as_json:
        click.echo(json.dumps({"schema": "doorlist.error/1", "error": failure.message, "exit": int(failure.exit), **failure.more}))
        return
    # Messages name organisations, people and files, and what others have answered.
    click.echo(f"doorlist: {plain(failure.message)}", err=True)
    listed = failure.more.get("people")
    if isinstance(listed, list):
        for one in listed:
            click.echo("  " + "  ".join(plain(value) for value in one.values()), err=True)


def _draw(table: Table) -> None:
    """As a table where every word of it has its place, else as lines: ids, and secrets that are shown this once, are cut nowhere."""
    # Drawing libraries are slow to load, and most calls of the command line are in scripts.
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table as Drawn

    console, drawn = Console(markup=False, emoji=False), Drawn(box=box.SIMPLE_HEAD)
    rows = [[plain(cell) for cell in row] for row in table.rows]
    columns = [(name, *cells) for name, *cells in zip(table.columns, *rows, strict=True)]
    edges = 1 + 3 * len(columns)
    is_wide = edges + sum(max(map(cell_len, cells)) for cells in columns) <= console.width
    if rows and edges + sum(max(cell_len(word) for cell in cells for word in cell.split(" ")) for cells in columns) > console.width:
        widest = max(map(len, table.columns))
        for row in rows:
            click.echo("\n".join(f"{name:{widest}}  {cell}" for name, cell in zip(table.columns, row, strict=True)) + "\n")
        return
    for name, *cells in columns:
        # A word keeps its line; sentences are wrapped, and what stands above words.
        words = bool(cells) and not any(" " in cell for cell in cells)
        drawn.add_column(name.replace(" ", "\n") if words and not is_wide else name, overflow="fold", no_wrap=words)
    for row in rows:
        drawn.add_row(*row)
    console.print(drawn)
