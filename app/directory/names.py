"""Comparison keys of names: two spellings that a reader takes for one name have one key. And what e-mail addresses are made of."""

import unicodedata
from typing import Final

_NEVER_BARE: Final = '"(),:;<>@[\\]'


def name_key(text: str) -> str:
    """NFKC, case-folded, outer blanks cut (RFC 7643 §4.1.1 makes userName caseExact false; RFC 8265 says how to fold)."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    # Folding can undo the normal form (ﬁ, ΐ), so it is normalised once more.
    return unicodedata.normalize("NFKC", folded).strip()


def is_bare(part: str) -> bool:
    """Whether this may stand before or behind the `@` of an address as it is, without the quotes or brackets that hold all else (RFC 5322 §3.2.3)."""
    return bool(part) and part.isprintable() and not any(mark.isspace() or mark in _NEVER_BARE for mark in part)
