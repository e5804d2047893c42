"""A show or a benchmark that is broken off ends what it started."""

import signal
from typing import NoReturn


def end_in_order() -> None:
    """From here on SIGTERM breaks off as Ctrl-C does; and so does SIGINT, which a shell lets what it starts with `&` ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _broken_off)


def _broken_off(*_: object) -> NoReturn:
    raise KeyboardInterrupt
