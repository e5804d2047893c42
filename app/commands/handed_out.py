"""Files for whoever asked for them, and for nobody else on the machine: names are in them, and reasons."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written_whole(out: Path) -> Iterator[BinaryIO]:
    """A file that only its owner can read, written beside and moved there when it is whole. A link goes on leading there. Raises OSError, which names it."""
    place = Path(os.path.realpath(out))
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(place)
    except OSError as error:
        # A disk that is full does not say of which file.
        raise OSError(error.errno, error.strerror, str(out)) from error
    finally:
        beside.unlink(missing_ok=True)
