"""Every sentence of the pages is in every catalogue, with the same places for values, and nothing else is."""

from __future__ import annotations

import re

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from app.sso.pages import HERE_PATH, LANGUAGES

METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]
PLACES = re.compile(r"%\((\w+)\)s")


def said() -> dict[str, str | tuple[str, ...]]:
    """What the pages say, by its English (the first form of it)."""
    found: dict[str, str | tuple[str, ...]] = {}
    for _, _, message, _, _ in extract_from_dir(HERE_PATH, METHODS):
        found[message if isinstance(message, str) else message[0]] = message
    return found


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != "en"])
def test_a_catalogue_says_all_that_the_pages_say_and_nothing_else(language: str) -> None:
    with (HERE_PATH / "catalogues" / f"{language}.po").open("rb") as file:
        messages = [message for message in read_po(file, locale=language) if message.id]
    catalogue = {message.id if isinstance(message.id, str) else message.id[0]: message.string for message in messages}

    assert sorted(catalogue) == sorted(said())
    for english, translated in catalogue.items():
        forms = [translated] if isinstance(translated, str) else list(translated or ())
        assert all(form.strip() for form in forms), english
        for form in forms:
            assert set(PLACES.findall(form)) == set(PLACES.findall(english)), english
