"""Reading an attribute path from a document."""

from collections.abc import Mapping
from typing import Any

from app.directory.filters import AttributePath, matches, split_path
from app.directory.values import leaves


def value_at(document: Mapping[str, Any], path: str | AttributePath) -> list[Any]:
    """Every value at the path, in the document's order, lists spread out; empty where there is none.

    Raises FilterError when the path cannot be read.
    """
    asked = split_path(path) if isinstance(path, str) else path
    found = list(leaves(document, asked.names))
    if asked.where is not None:
        found = [element for element in found if isinstance(element, dict) and matches(asked.where, element)]
    if asked.sub is not None:
        found = [leaf for element in found for leaf in leaves(element, (asked.sub,))]
    return found
