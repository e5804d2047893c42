"""What a person reads where a sign-in is refused: calm, the same for everybody of whom nothing may be told, and never the reason itself."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from app.sso.pages import language_of_reader, translations
from app.sso.refusals import Reason


def _(words: str) -> str:
    """Marks words for the catalogues; they are translated when they are shown."""
    return words


class Words(NamedTuple):
    heading: str
    sentence: str
    status: int = 403


_NO_ACCOUNT: Final = Words(
    _("You cannot sign in here"),
    _("This account is closed, or was never opened. If you think that is a mistake, ask your manager or your help desk."),
)
_AGAIN: Final = Words(
    _("That sign-in is over"), _("It took too long, or was used before. Please begin again."),
)  # fmt: skip
_ANOTHER: Final = Words(
    _AGAIN.heading,
    _("It took too long, or was begun in another browser. Please begin again. If that does not help, allow this page to keep cookies."),
)
_NOT_HERE: Final = Words(
    _AGAIN.heading, _("It took too long, or was not begun here. Please begin again with the button below, not from your company’s list of apps."),
)  # fmt: skip
_NOT_UNDERSTOOD: Final = Words(
    _("That sign-in did not work"),
    _("Your company’s sign-in answered in a way that we cannot accept. Your administrator can see why, by the number below."),
)

WORDS: Final[Mapping[Reason, Words]] = {
    # One and the same for all three: who does not come in learns nothing of whom we know.
    Reason.NOT_KNOWN: _NO_ACCOUNT,
    Reason.NO_ACCESS: _NO_ACCOUNT,
    Reason.ISSUED_BEFORE: _NO_ACCOUNT,
    Reason.TOO_LATE: _AGAIN,
    Reason.USED_BEFORE: _AGAIN,
    Reason.OTHER_BROWSER: _ANOTHER,
    Reason.NOT_ASKED_FOR: _NOT_HERE,
    Reason.UNKNOWN_CONNECTION: Words(
        _("That link leads nowhere"), _("There is no such way to sign in, or there is none any more. Begin with your e-mail address."),
    ),
    Reason.PROVIDER_SAID_NO: Words(
        _("Your company’s sign-in said no"), _("You were not signed in there. You can try again, or ask your help desk."),
    ),
    Reason.PROVIDER_DOWN: Words(
        _("Your company’s sign-in does not answer"), _("That is not your fault. Please try again in a few minutes."), 503,
    ),
    Reason.SECOND_FACTOR: Words(
        _("A second factor is needed"),
        _("Sign in again, and confirm it with your second step, such as a security key or an app on your phone."),
    ),
    Reason.CLOSED: Words(
        _("Nobody is let in just now"), _("That is not your fault. Your administrator has been told. Please try again later."), 503,
    ),
    Reason.BAD_REQUEST: Words(
        _NOT_UNDERSTOOD.heading,
        _("The application that sent you here asked in a way that we cannot accept. Your administrator can see why, by the number below."), 400,
    ),
}  # fmt: skip


def words_for(reason: Reason) -> Words:
    """The words for a reason in the reader's language, and the status of the page."""
    said = WORDS.get(reason, _NOT_UNDERSTOOD)
    catalogue = translations(language_of_reader())
    return Words(catalogue.gettext(said.heading), catalogue.gettext(said.sentence), said.status)
