"""The hot paths as tests look into them."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.scim import hot
from app.scim.hot_reads import Answered

View = Callable[[Any, Any], Awaitable[Answered | None]]


def wrap_views(monkeypatch: pytest.MonkeyPatch, wrap: Callable[[View], View]) -> None:
    """Put something around every hot path until the test ends."""
    for views in ("_READS", "_WRITES"):
        monkeypatch.setattr(hot, views, {key: wrap(view) for key, view in getattr(hot, views).items()})


def without_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every request take the ordinary way."""
    for views in ("_READS", "_WRITES"):
        monkeypatch.setattr(hot, views, {})
