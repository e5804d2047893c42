"""Paths that are kept, as they are meant where they are typed: what uses them by the clock was started elsewhere."""

import os


def whole_path(path: str) -> str:
    """From the root on. A link stays one: exports and certificates are often renewed by letting it lead to a new file."""
    return os.path.abspath(path)
