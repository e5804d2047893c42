"""Comparison keys of names: two spellings that a reader takes for one name have one key."""

import unicodedata


def name_key(text: str) -> str:
    """NFKC, case-folded, outer blanks cut (RFC 7643 §4.1.1 makes userName caseExact false; RFC 8265 says how to fold)."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    # Folding can undo the normal form (ﬁ, ΐ), so it is normalised once more.
    return unicodedata.normalize("NFKC", folded).strip()
