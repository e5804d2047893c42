"""Any value that JSON has, and some that only Python's JSON has: half surrogate pairs, numbers of any length."""

from hypothesis import strategies as st

_TEXTS = st.text() | st.text(st.characters(codec=None, categories=("Cs", "Cc", "Po", "So")))
_SINGLE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS
VALUES = st.recursive(_SINGLE, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4), max_leaves=12)
