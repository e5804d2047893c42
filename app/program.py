"""The program `doorlist`, from its first line: what it is made of is read, and then whatever was typed is run."""

import gc
import sys


def main() -> None:
    """Entry point of the command line."""
    # While it is read nothing of it is garbage, and to look for some again and again takes a sixth of the time of most commands.
    gc.disable()
    from app.assembly import without_doors
    from app.commands.entry import run

    gc.freeze()
    gc.enable()
    sys.exit(run(without_doors))
