"""Which kinds of workspace there are. Adding one is a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from connectors.contract import Misconfigured, Target, TargetSettings
from connectors.targets.matrix import Matrix

__all__ = ["TARGETS", "TargetSettings", "open_target"]

TARGETS: Mapping[str, Callable[[TargetSettings], Target]] = {
    "matrix": Matrix,
}


def open_target(kind: str, settings: TargetSettings) -> Target:
    """Speaks to nobody yet; `check()` does."""
    try:
        make = TARGETS[kind]
    except KeyError:
        known = ", ".join(sorted(TARGETS))
        raise Misconfigured(f"{settings.name}: no workspace of kind {kind!r}; known are {known}") from None
    return make(settings)
