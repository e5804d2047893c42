"""The schemas of each organisation, remembered by this process until they change; and those by which each directory was read last."""

from typing import Final

from flask import Flask, current_app

from app.access.tokens import SourceClient
from app.database import reading
from app.directory.vocabulary import STANDARD, Vocabulary
from app.lifecycle.extensions import vocabulary_of

_KEPT: Final = "doorlist_vocabularies"
_LAST: Final = "doorlist_last_vocabularies"
_MOST: Final = 1000


def vocabulary_for(client: SourceClient) -> Vocabulary:
    """What this client's resources are read by. Its token was read with the version, so that a change is heard of at once."""
    vocabulary = STANDARD if client.schemas_version is None else _remembered(client.organization_id, client.schemas_version)
    last: dict[str, Vocabulary] = current_app.extensions.setdefault(_LAST, {})
    last[client.source_id] = vocabulary
    return vocabulary


def last_vocabulary(app: Flask, source_id: str) -> Vocabulary | None:
    """What this directory's last request on the ordinary way was read by, in this process; its `version` tells whether that still is so."""
    last: dict[str, Vocabulary] = app.extensions.get(_LAST, {})
    return last.get(source_id)


def _remembered(organization_id: str, version: int) -> Vocabulary:
    kept: dict[str, Vocabulary] = current_app.extensions.setdefault(_KEPT, {})
    found = kept.get(organization_id)
    if found is None or found.version != version:
        with reading() as session:
            found = vocabulary_of(session, organization_id, version=version)
        if len(kept) >= _MOST:
            kept.clear()
        kept[organization_id] = found
    return found
