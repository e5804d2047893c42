"""The schemas of each organisation, remembered by this process until they change; and whose answers leave something out."""

from typing import Final

from flask import Flask, current_app

from app.access.tokens import SourceClient
from app.database import reading
from app.directory.vocabulary import STANDARD, Vocabulary
from app.lifecycle.extensions import vocabulary_of

_KEPT: Final = "doorlist_vocabularies"
_HIDING: Final = "doorlist_hiding_sources"
_MOST: Final = 1000


def vocabulary_for(client: SourceClient) -> Vocabulary:
    """What this client's resources are read by. Its token was read with the version, so that a change is heard of at once."""
    vocabulary = STANDARD if client.schemas_version is None else _remembered(client.organization_id, client.schemas_version)
    hiding: set[str] = current_app.extensions.setdefault(_HIDING, set())
    (hiding.add if vocabulary.hides else hiding.discard)(client.source_id)
    return vocabulary


def hides_something(app: Flask, source_id: str) -> bool:
    """Whether stored attributes are left out of this directory's answers, as its last request on the ordinary way found."""
    return source_id in app.extensions.get(_HIDING, ())


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
