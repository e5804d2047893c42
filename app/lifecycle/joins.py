"""What else is to happen in the transaction in which somebody joins: told to us at start, since we know no door."""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import ColumnElement, false, or_
from sqlalchemy.orm import Session

from app.lifecycle.key_locks import hold_numbers

JoinListener = Callable[[Session, str, list[str], datetime], int]
Awaits = Callable[[ColumnElement[str], ColumnElement[str]], ColumnElement[bool]]
"""(organization_id, employee_number) to whether anything waits for whoever has that number."""
_listeners: dict[JoinListener, Awaits] = {}


def on_join(listener: JoinListener, *, awaits: Awaits) -> None:
    """Call `listener(session, organization_id, employee_numbers, at)` after each join; registering twice is once.

    Where nothing `awaits` a number, it would do nothing, and need not be called.
    """
    _listeners[listener] = awaits


def is_awaited(organization_id: ColumnElement[str], employee_number: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether any listener has something to do when somebody joins by this number."""
    return or_(false(), *(awaits(organization_id, employee_number) for awaits in _listeners.values()))


def announce(session: Session, organization_id: str, employee_number: str | None, *, at: datetime) -> None:
    """Somebody with this employee number has a record now."""
    announce_all(session, organization_id, [] if employee_number is None else [employee_number], at=at)


def announce_all(session: Session, organization_id: str, employee_numbers: list[str], *, at: datetime) -> None:
    """People with these employee numbers have a record now."""
    if not employee_numbers:
        return
    # Whoever looks for one of these numbers at this moment, and does not see them yet, is waited for: then what they leave behind is seen.
    hold_numbers(session, organization_id, employee_numbers)
    for listener in _listeners:
        listener(session, organization_id, employee_numbers, at)
