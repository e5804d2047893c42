"""What somebody at a browser sees where an address leads nowhere, or where we fail: a page, in the place of what programs are told."""

from typing import Final, NamedTuple

from flask import Response, request

from app.sso import pages

_PEOPLES: Final = frozenset({"employee", "sign_in", "break_glass"})
"""The doors at which there is nobody but people."""
_ALSO_PEOPLES: Final = frozenset(
    {"provider.authorize", "provider.device", "provider.logout", "oidc.come_back", "oidc.begin_elsewhere", "oidc.signed_out"}
    | {"saml.consume", "saml.begin_again", "saml.single_logout", "saml.single_logout_by_form"}
)
_JSON_ALONE: Final = "sign_in.show_session"


def _(words: str) -> str:
    """Marks words for the catalogues; they are translated when they are shown."""
    return words


class _Words(NamedTuple):
    heading: str
    sentence: str


_NOWHERE: Final = _Words(_("There is no such page"), _("Look whether the address is written as it should be, or begin at your pages."))
_AWAY: Final = _Words(_("Doorlist does not answer just now"), _("That is not your fault. Please try again in a few minutes."))
_OURS: Final = _Words(_("That did not work"), _AWAY.sentence)
_THEIRS: Final = _Words(_OURS.heading, _("Go back, load the page again, and try once more."))


def failed_page(status: int) -> Response | None:
    """The page for this failure; None where it was no person at a browser who asked, but a program, which is told in its own form."""
    if not _asked_by_person():
        return None
    if status in (404, 405):
        said = _NOWHERE
    elif status == 503:
        said = _AWAY
    else:
        said = _OURS if status >= 500 else _THEIRS
    catalogue = pages.translations(pages.language_of_reader())
    return pages.render("failed", status=status, heading=catalogue.gettext(said.heading), sentence=catalogue.gettext(said.sentence))


def _asked_by_person() -> bool:
    # Browsers name HTML before anything else where they want a page; programs that name it, as Java's own do, ask at other doors.
    likes = request.accept_mimetypes.best_match(("application/problem+json", "text/html"))
    theirs = request.url_rule is None or request.blueprint in _PEOPLES or request.endpoint in _ALSO_PEOPLES
    return likes == "text/html" and theirs and request.endpoint != _JSON_ALONE
