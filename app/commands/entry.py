"""The command line as a whole: its verbs, and how the process ends."""

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import click
from flask import Flask

from app.commands.exits import Exit, Failure, failure_of
from app.commands.output import show_failure

FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "alarms": ("alarms",), "apply": ("planning",), "audit": ("audit",), "break-glass": ("break_glass",), "client": ("clients",),
    "connection": ("connecting",), "contractor": ("contractors",), "depart": ("leaving",), "doctor": ("doctor",), "exception": ("stays",),
    "expect-departures": ("leaving",), "explain": ("receipts",), "handover": ("handover",), "held": ("held",), "hold": ("holds",), "hr": ("hr",),
    "init": ("setting_up",), "keys": ("keys",), "mapping": ("mapping",), "operator": ("setting_up",), "parked": ("parked",), "person": ("people",),
    "plan": ("planning",), "questions": ("questions",), "receipt": ("receipts",), "reinstate": ("people",), "report": ("reports",),
    "requests": ("requests",), "retention": ("retention",), "return": ("leaving",), "rules": ("rules",), "run": ("runs",), "schemas": ("schemas",),
    "serve": ("serving",), "settings": ("setting_up",), "sign-out": ("people",), "signals": ("signals",), "source": ("sources", "pulled"),
    "status": ("watching",), "sweep": ("sweeping",), "worker": ("serving",), "workspace": ("workspaces",),
}  # fmt: skip
"""By the first word of a verb, the modules of this room that know it."""


class CommandLine(click.Group):
    """Ends the process with our exit codes, and says errors in the form that was asked for.

    Only what the word that was typed needs is loaded: to load all takes longer than most verbs to run.
    (https://click.palletsprojects.com/en/stable/complex/#lazily-loading-subcommands)
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(FAMILIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for family in FAMILIES.get(cmd_name, ()):
            import_module(f"app.commands.{family}").add_to(self)
        return super().get_command(ctx, cmd_name)

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, complete_var: str | None = None,
        standalone_mode: bool = True, windows_expand_args: bool = True, **extra: Any,
    ) -> Any:  # fmt: skip
        given = list(sys.argv[1:] if args is None else args)
        code = self._run(given, prog_name=prog_name or "doorlist", complete_var=complete_var, **extra)
        if standalone_mode:
            sys.exit(code)
        return code

    def _run(self, given: list[str], **extra: Any) -> int:
        # A usage error may come before --json was read, and is still to be said as JSON.
        as_json = "--json" in given
        try:
            _refuse_unreadable(given)
            ended = super().main(given, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.ctx.get_help(), err=True)
            return Exit.USAGE
        except BrokenPipeError:
            # Whoever read our output has seen enough; Python would complain once more when it closes stdout.
            sys.stdout = None
            return Exit.DONE
        except (Exception, KeyboardInterrupt) as error:
            failure = failure_of(error)
            if failure is None:
                # Shown whole, since only who mends it can make sense of it.
                traceback.print_exception(error)
                failure = Failure(exit=Exit.ERROR, message=f"a fault of Doorlist itself: {type(error).__name__}: {error}")
            show_failure(failure, as_json=as_json)
            return failure.exit
        return ended if isinstance(ended, int) else Exit.DONE


def _refuse_unreadable(given: Sequence[str]) -> None:
    """What a terminal sent in another encoding could be neither stored nor said. Raises UsageError."""
    for one in given:
        try:
            one.encode()
        except UnicodeEncodeError:
            raise click.UsageError(f"{one.encode(errors='surrogateescape')!r} is no UTF-8: set the terminal to UTF-8, and type it again") from None


@click.group(cls=CommandLine)
@click.version_option(package_name="doorlist", message="%(prog)s %(version)s")
def doorlist() -> None:
    """Who is on the list gets in; whoever is struck off is shut out, and that is proved.

    \b
    First steps:
      doorlist init --organization Acme
      doorlist source add scim okta
      doorlist workspace add matrix chat --url https://chat.example --token-file token
      doorlist rules apply rules.yaml
      doorlist serve
    """


def run(create_app: Callable[[], Flask]) -> int:
    """Run what was typed; returns the exit code of the process."""
    ended = doorlist.main(standalone_mode=False, obj=create_app)
    return int(ended)
