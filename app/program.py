"""The program `doorlist`, from its first line: what it is made of is read, and then whatever was typed is run."""

import gc
import signal
import sys


def main() -> None:
    """Entry point of the command line."""
    # Whoever breaks it off meanwhile is heard as soon as somebody can say so: `app.commands.ending.hear`.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    # While it is read nothing of it is garbage, and to look for some again and again takes a sixth of the time of most commands.
    gc.disable()
    from app.assembly import without_doors
    from app.commands.entry import run

    gc.freeze()
    gc.enable()
    sys.exit(run(without_doors))
