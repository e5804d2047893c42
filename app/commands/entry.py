"""The command line as a whole: its verbs, and how the process ends."""

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, Final

import click
from flask import Flask

from app.commands.ending import broken_off_in_order, hear
from app.commands.exits import Exit, Failure, NotReady, failure_of
from app.commands.output import fill_closed, let_go, nobody_reads, show_failure, spell_out

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
SUMMARIES: Final[Mapping[str, str]] = {
    "alarms": "What somebody has to look at, and who is told.",
    "apply": "Have a plan carried out by the worker.",
    "audit": "Who did what, in a form that nobody can change.",
    "break-glass": "Who may come in without the identity provider.",
    "client": "Applications that people enter through Doorlist.",
    "connection": "Identity providers through which people sign in.",
    "contractor": "People with a sponsor and a last day, not employees.",
    "depart": "Somebody leaves: their access ends everywhere.",
    "doctor": "Look for what is wrong, or leaks, by configuration.",
    "exception": "Who is in a channel though no rule says so.",
    "expect-departures": "Announce a layoff, which the brake then lets pass.",
    "explain": "Why somebody is, or is not, in a channel.",
    "handover": "Who takes over the channels of those who leave.",
    "held": "What waits since it would take access from many.",
    "hold": "Legal holds: nothing that somebody wrote is erased.",
    "hr": "HR systems, each by a description, and their calls.",
    "init": "Make or upgrade database, key and organisation.",
    "keys": "What Doorlist signs with: tokens, and evidence.",
    "mapping": "What the attributes of a pulled source become.",
    "operator": "Named people who act, each with a role and token.",
    "parked": "What was set aside for somebody to look at.",
    "person": "One person: whether in, away, out or expected.",
    "plan": "Compare what should be with what workspaces hold.",
    "questions": "Is this the same person? Answer what is in doubt.",
    "receipt": "The proof of a person's departures, newest first.",
    "reinstate": "Take back a departure that was a mistake.",
    "report": "What an auditor asks for.",
    "requests": "What directories sent over SCIM, and our answers.",
    "retention": "When what leavers wrote is erased in workspaces.",
    "return": "Somebody comes back, or does not leave after all.",
    "rules": "Which channels there are, and who belongs in them.",
    "run": "Pulls and decisions by number, and their undoing.",
    "schemas": "Attributes of your own, as SCIM schemas.",
    "serve": "Serve the web and deliver, for every organisation.",
    "settings": "Settings of the organisation.",
    "sign-out": "End every session, token and device of somebody.",
    "signals": "Shared signals, from providers and to receivers.",
    "source": "Directories that push or are pulled, and HR systems.",
    "status": "What waits, what is stuck, and how things stand.",
    "sweep": "Look for people who left and could still get in.",
    "worker": "Deliver, without the web, for every organisation.",
    "workspace": "The chat servers that are kept in step.",
}
"""What each word is about, in a line that a terminal of 80 columns shows whole."""


class CommandLine(click.Group):
    """Ends the process with our exit codes, and says errors in the form that was asked for.

    Only what the word that was typed needs is loaded: to load all takes longer than most verbs to run.
    (https://click.palletsprojects.com/en/stable/complex/#lazily-loading-subcommands)
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(FAMILIES)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(word, SUMMARIES[word]) for word in self.list_commands(ctx)])

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
            hear()
            _refuse_unreadable(given)
            ended = super().main(given, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:
            with suppress(OSError):
                click.echo(error.ctx.get_help(), err=True)
            return Exit.USAGE
        except _Unheard:
            return Exit.DONE
        except (Exception, KeyboardInterrupt) as error:
            failure = failure_of(error)
            if failure is None:
                # Shown whole, since only who mends it can make sense of it.
                with suppress(OSError):
                    traceback.print_exception(error)
                failure = Failure(exit=Exit.ERROR, message=f"a fault of Doorlist itself: {type(error).__name__}: {error}")
            _say(failure, as_json=as_json)
            return failure.exit
        finally:
            let_go()
        return ended if isinstance(ended, int) else Exit.DONE

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any) -> click.Context:
        with _heard():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _heard():
            return super().invoke(ctx)


class _Unheard(Exception):
    """Whoever read our output has seen enough."""


@contextmanager
def _heard() -> Iterator[None]:
    """Tell a reader who has gone from another connection that broke: of either click would make an end with 1, without a word."""
    try:
        yield
    except BrokenPipeError as error:
        raise (_Unheard() if nobody_reads() else NotReady(f"a connection was broken off: {error}")) from error


def _say(failure: Failure, *, as_json: bool) -> None:
    """Say it on stderr where stdout takes nothing, a full disk for instance; where that takes nothing either, the exit code says it."""
    try:
        show_failure(failure, as_json=as_json)
    except BrokenPipeError:
        return
    except OSError:
        let_go()
        with suppress(OSError):
            show_failure(failure, as_json=False)


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
    fill_closed()
    spell_out()
    with broken_off_in_order():
        ended = doorlist.main(standalone_mode=False, obj=create_app)
    return int(ended)
