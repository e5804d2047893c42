"""Text that goes into filters (RFC 4515) and comes out of distinguished names (RFC 4514). Nothing is put into either unescaped."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache

_SPECIAL = re.compile(r"[\\*()\x00-\x1f\x7f]")
_PLAIN = re.compile(r"[^\\\"+;<>#\x00-\x1f]*")
_AROUND = re.compile(r" *, *")


def escaped(value: str) -> str:
    """A value for a filter: metacharacters, NUL and control characters as `\\xx` (RFC 4515 §3)."""
    return _SPECIAL.sub(lambda found: f"\\{ord(found[0]):02x}", value)


def escaped_bytes(value: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in value)


def equals(name: str, value: str) -> str:
    return f"({name}={escaped(value)})"


def both(*filters: str) -> str:
    return f"(&{''.join(filters)})"


def either(*filters: str) -> str:
    return filters[0] if len(filters) == 1 else f"(|{''.join(filters)})"


def normal(dn: str) -> str:
    """One spelling for what every directory holds to be one name: case, spaces around `,` `=` `+` and the way of escaping do not count.

    Two people must not become one, so nothing is folded that any server tells apart: `ß` is not `ss`, and to Samba `é` of two
    signs is not `é` of one. This is for comparing: no server is asked by it, which may hold it for another name, or for none. What
    cannot be taken apart comes back in lower case; a wrong spelling is then found by nobody, which the caller has to expect.
    """
    return _spelled(dn, _lower)


def rough(dn: str) -> str:
    """The same for whatever any directory may hold to be one name, and for much that none does: accents and width do not count either."""
    return _spelled(dn, _bare)


def _spelled(dn: str, fold: Callable[[str], str]) -> str:
    if dn.isascii() and _PLAIN.fullmatch(dn) and " =" not in dn and "= " not in dn:
        plain = _AROUND.sub(",", dn.lower().strip())
        return re.sub(" +", " ", plain) if "  " in plain else plain
    try:
        names = [sorted(_pair(pair, fold) for pair in _split(name, "+")) for name in _split(dn, ",;")]
    except ValueError:
        return fold(dn)
    return ",".join("+".join(pairs) for pairs in names)


def _lower(text: str) -> str:
    return text.lower() if text.isascii() else "".join(map(_small, text))


@cache
def _small(sign: str) -> str:
    # Only letters that are a pair: the sign for Kelvin has a small `k`, whose capital is another, and servers differ over that.
    small = sign.lower()
    return small if small.upper() == sign else sign


def _bare(text: str) -> str:
    for _ in range(2):
        # Once more, since what a sign is taken apart into may have capitals of its own.
        text = unicodedata.normalize("NFKD", text.casefold())
    return "".join(sign for sign in text if unicodedata.category(sign) not in ("Mn", "Me", "Cf")).strip()


def _pair(text: str, fold: Callable[[str], str]) -> str:
    name, equal, value = text.partition("=")
    if not equal:
        raise ValueError(text)
    return f"{name.strip().lower()}={_value(value, fold)}"


def _split(text: str, signs: str) -> list[str]:
    """At signs that are neither escaped nor within quotes."""
    parts, start, at, quoted = [], 0, 0, False
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == '"':
            quoted = not quoted
        elif text[at] in signs and not quoted:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def _value(text: str, fold: Callable[[str], str]) -> str:
    """The value meant, with what would part names, quote, or be cut off escaped in one way again."""
    raw, at = bytearray(), 0
    text = text.lstrip(" ")
    # An escaped space at the end belongs to the value.
    while text.endswith(" ") and not text.endswith("\\ "):
        text = text[:-1]
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    while at < len(text):
        if text[at] != "\\":
            raw += text[at].encode()
            at += 1
        elif re.fullmatch("[0-9a-fA-F]{2}", text[at + 1 : at + 3]):
            raw.append(int(text[at + 1 : at + 3], 16))
            at += 3
        else:
            raw += text[at + 1 : at + 2].encode()
            at += 2
    meant = fold(raw.decode("utf-8", errors="replace"))
    return re.sub(r"""[\\,+;"\x00-\x1f]|^ | $""", lambda found: f"\\{ord(found[0]):02x}", re.sub(" +", " ", meant))


def below(dn: str, base: str) -> bool:
    """Is this the base, or something under it? Roughly: bases are spelled by people, and whoever is meant is asked for at the server."""
    found, wanted = rough(dn), rough(base)
    return found == wanted or found.endswith(f",{wanted}") or not wanted
