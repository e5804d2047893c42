"""Which kinds of workspace and of source there are. Adding one is a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from connectors.contract import History, Misconfigured, Target, TargetSettings
from connectors.source_contract import Source, SourceSettings
from connectors.targets.matrix import Matrix
from connectors.targets.matrix_homeserver import OPTIONS as MATRIX_OPTIONS

__all__ = ["SOURCES", "TARGETS", "TARGET_OPTIONS", "SourceSettings", "TargetSettings", "history_of", "open_source", "open_target"]

TARGETS: Mapping[str, Callable[[TargetSettings], Target]] = {
    "matrix": Matrix,
}
TARGET_OPTIONS: Mapping[str, frozenset[str]] = {
    "matrix": MATRIX_OPTIONS,
}
"""What an administrator may say of each kind. It is asked where that is said: a workspace that is kept in step is halted for none of it."""


# Their libraries are slow to load, and most installations need one of them: each is imported when it is opened.


def _ldap(settings: SourceSettings) -> Source:
    from connectors.sources.ldap import LDAP

    return LDAP(settings)


def _okta(settings: SourceSettings) -> Source:
    from connectors.sources.okta import Okta

    return Okta(settings)


def _entra(settings: SourceSettings) -> Source:
    from connectors.sources.entra import Entra

    return Entra(settings)


def _files(settings: SourceSettings) -> Source:
    from connectors.sources.files import Files

    return Files(settings)


SOURCES: Mapping[str, Callable[[SourceSettings], Source]] = {
    "ldap": _ldap,
    "okta": _okta,
    "entra": _entra,
    "csv": _files,
}


def open_source(kind: str, settings: SourceSettings) -> Source:
    """Speaks to nobody yet; `check()` does. Raises Misconfigured for settings that cannot be right."""
    try:
        make = SOURCES[kind]
    except KeyError:
        known = ", ".join(sorted(SOURCES))
        raise Misconfigured(f"{settings.name}: no source of kind {kind!r} is pulled; known are {known}") from None
    return make(settings)


def open_target(kind: str, settings: TargetSettings) -> Target:
    """Speaks to nobody yet; `check()` does."""
    try:
        make = TARGETS[kind]
    except KeyError:
        known = ", ".join(sorted(TARGETS))
        raise Misconfigured(f"{settings.name}: no workspace of kind {kind!r}; known are {known}") from None
    return make(settings)


def history_of(kind: str) -> History | None:
    """What can be read of a channel that was left or joined in a workspace of this kind, as its connector says; None where it does not."""
    said = getattr(TARGETS.get(kind), "HISTORY", None)
    return said if isinstance(said, History) else None
