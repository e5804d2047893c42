"""Exit codes, and the one place where an error becomes one."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import click
from sqlalchemy.exc import DBAPIError

from app.access.keys import NoSigningKey
from app.access.sealing import KeyMissing
from app.database import is_read_only
from app.directory.extensions import UnusableSchema
from app.directory.settings import UnusableSetting
from app.lifecycle.errors import ActsNoMore, LifecycleError
from app.rules.file import RuleError
from app.rules.moves import RenameRefused
from app.schema import NotInUTF8, UnknownSchema
from app.settings import SettingError
from connectors.contract import ConnectorError, RateLimited, Unreachable


class Exit(IntEnum):
    DONE = 0
    ERROR = 1
    USAGE = 2
    CHANGES = 3
    NOT_ALLOWED = 4
    HELD = 5
    PARTLY = 6
    UNREACHABLE = 7
    ALTERED = 8
    INTERRUPTED = 130


# Errors of the command line itself.
#
# CommandError
#  ├─ NotAllowed   a token that is not good, or a role that may not do this
#  ├─ Unclear      what was asked fits several things: they are listed, and nothing was done
#  └─ NotReady     the installation or this machine cannot do it now


class CommandError(Exception):
    """The message is a sentence for whoever typed the command. `more` goes beside it in `--json`."""

    exit = Exit.ERROR

    def __init__(self, message: str, *, more: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.more = dict(more or {})


class NotAllowed(CommandError):
    exit = Exit.NOT_ALLOWED


class Unclear(CommandError):
    exit = Exit.USAGE


class NotReady(CommandError):
    pass


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What is said about an error, and how the process ends."""

    exit: Exit
    message: str
    more: Mapping[str, object] = field(default_factory=dict)


def failure_of(error: BaseException) -> Failure | None:
    """The failure that this error stands for; None for what nobody foresaw, which is shown whole."""
    match error:
        case CommandError():
            return Failure(exit=error.exit, message=str(error), more=error.more)
        case click.UsageError():
            return Failure(exit=Exit.USAGE, message=error.format_message())
        case click.ClickException():
            return Failure(exit=Exit.ERROR, message=error.format_message())
        case click.Abort() | KeyboardInterrupt():
            return Failure(exit=Exit.INTERRUPTED, message="interrupted")
        case UnusableSetting():
            return Failure(exit=Exit.USAGE, message=str(error))
        case ActsNoMore():
            return Failure(exit=Exit.NOT_ALLOWED, message=str(error))
        case Unreachable() | RateLimited():
            return Failure(exit=Exit.UNREACHABLE, message=str(error))
        case ConnectorError() | LifecycleError() | RuleError() | RenameRefused() | UnusableSchema() | SettingError() | KeyMissing() | NoSigningKey():
            return Failure(exit=Exit.ERROR, message=str(error))
        case UnknownSchema() | NotInUTF8():
            return Failure(exit=Exit.ERROR, message=str(error))
        case DBAPIError() if is_read_only(error):
            return Failure(exit=Exit.ERROR, message=f"the database takes no changes just now, see doorlist doctor: {_first_line(error.orig)}")
        case DBAPIError():
            return Failure(exit=Exit.ERROR, message=f"the database refused: {_first_line(error.orig)}")
        case sqlite3.Error():
            return Failure(exit=Exit.ERROR, message=f"the database refused: {_first_line(error)}")
        case OSError(filename=str() as name, strerror=str() as why):
            return Failure(exit=Exit.ERROR, message=f"{name}: {why}")
        case OSError():
            return Failure(exit=Exit.ERROR, message=str(error))
    return None


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no reason given"
