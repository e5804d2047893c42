"""Pages for people: plain HTML that needs no script, in the reader's language, under a strict policy of content."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from babel.dates import format_date
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from flask import Blueprint, Response, abort, has_request_context, request
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

HERE_PATH: Final = Path(__file__).parent
LANGUAGES: Final = ("en", "de")
"""English is what the templates say; every other one has a catalogue."""
ASSETS: Final = {"doorlist.css": "text/css; charset=utf-8", "doorlist.svg": "image/svg+xml", "security_key.js": "text/javascript; charset=utf-8"}

# Nothing inline and nothing from elsewhere. `form-action` also forbids a form's redirects to go elsewhere, so whoever
# has to be sent on after a form gets the page of `onward`.
POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    # Nothing is said to others. Under `no-referrer` browsers would hide from us, too, where a form was sent from: as `Origin: null`
    # (https://fetch.spec.whatwg.org/#append-a-request-origin-header), which is all that those without Sec-Fetch-Site say.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

assets = Blueprint("assets", __name__)


def render(template: str, /, *, status: int = 200, **values: Any) -> Response:
    """The page of a template (named without its ending). `values` are shown, never trusted: whatever they hold is escaped."""
    language = language_of_reader()
    html = _environment(language).get_template(f"{template}.html").render(language=language, **values)
    return Response(html, status=status, headers=dict(HEADERS), content_type="text/html; charset=utf-8")


def onward(url: str, *, to: str) -> Response:
    """A page that sends the browser on to `url` by itself, or by its link: for use after a form, where a redirect would be stopped.

    The caller vouches for `url`; `to` is what the place is called.
    """
    return render("onward", url=url, to=to)


def language_of_reader() -> str:
    """The language of ours that the browser likes best; English where it says nothing."""
    if not has_request_context():
        return LANGUAGES[0]
    return request.accept_languages.best_match(LANGUAGES, default=LANGUAGES[0]) or LANGUAGES[0]


@cache
def _environment(language: str) -> Environment:
    made = Environment(
        loader=PackageLoader("app.sso", "templates"), autoescape=True, undefined=StrictUndefined, extensions=["jinja2.ext.i18n"],
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]  # the extension adds it
    made.filters["instant"] = lambda value: _instant(value, language)
    made.filters["capitalize_first"] = lambda words: words[:1].upper() + words[1:]
    made.globals["asset"] = asset_url
    return made


@cache
def translations(language: str) -> NullTranslations:
    """The catalogue of a language, read from its `.po` file."""
    path = HERE_PATH / "catalogues" / f"{language}.po"
    if not path.exists():
        return NullTranslations()
    compiled = BytesIO()
    with path.open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return Translations(compiled)


def _instant(value: datetime, language: str) -> Markup:
    """An instant in words, with the machine's form beside it. In UTC, and it says so: we do not know where the reader is."""
    # Plain "en" would write dates as the United States do.
    day = format_date(value, "long", locale={"en": "en_GB"}.get(language, language))
    words = f"{day}, {value:%H:%M} UTC"
    return Markup('<time datetime="{}">{}</time>').format(value.isoformat(timespec="seconds"), words)


@cache
def _asset(name: str) -> tuple[bytes, str]:
    content = (HERE_PATH / "assets" / name).read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:12]


def asset_url(name: str) -> str:
    """Where an asset is found; another content has another address, so it may be kept for ever."""
    return f"/assets/{_asset(name)[1]}/{name}"


@assets.get("/assets/<_version>/<name>")
def show_asset(_version: str, name: str) -> Response:
    if name not in ASSETS:
        abort(404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(_asset(name)[0], headers=headers, content_type=ASSETS[name])

