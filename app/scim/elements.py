"""Elements of multi-valued attributes (RFC 7643 §2.4): which of two are one, and which is the primary one."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

NOTHING = object()


def _value_of(element: Any) -> Any:
    if not isinstance(element, dict):
        return element
    if (value := element.get("value")) is not None:
        return value
    # Such as an address: it is all else that it says. Null says nothing (RFC 7643 §2.5), and another may have become primary since.
    return {name: part for name, part in element.items() if part is not None and name not in ("value", "type", "primary")}


def key_of(element: Any) -> Any:
    """What two elements of one value have in common, as a key."""
    value = _value_of(element)
    if isinstance(value, bool):
        # Python takes true for 1.
        return bool, value
    return ("", json.dumps(value, sort_keys=True)) if isinstance(value, dict | list) else value


def _type_of(element: Any) -> Any:
    said = element.get("type") if isinstance(element, dict) else None
    # Whatever else stands there is refused later on.
    return said.casefold() if isinstance(said, str) else said if said is None else ("", json.dumps(said, sort_keys=True))


def as_it_is(element: Any) -> Any:
    """Of an attribute whose elements stand in one form."""
    return element


def said_in(element: Mapping[str, Any]) -> dict[str, Any]:
    """What adding it says of one that is there: null takes away by a `replace` only (RFC 7643 §2.5)."""
    return {name: part for name, part in element.items() if part is not None}


class Known:
    """The elements that are there, by what they are: value and type together are one (RFC 7643 §2.4), so that many are added to many in one pass.

    `form` is that in which two of them are compared.
    """

    def __init__(self, elements: Iterable[Any], form: Callable[[Any], Any] = as_it_is) -> None:
        self._form = form
        self._typed: dict[tuple[Any, Any], Any] = {}
        self._first: dict[Any, Any] = {}
        for element in elements:
            self.note(element)

    def note(self, element: Any) -> None:
        key = key_of(self._form(element))
        self._typed.setdefault((key, _type_of(element)), element)
        self._first.setdefault(key, element)

    def same(self, element: Any) -> Any:
        """The one that is meant, or NOTHING: of the same type, or where one of the two says none."""
        key, type_ = key_of(self._form(element)), _type_of(element)
        exact = self._typed.get((key, type_), NOTHING)
        if exact is not NOTHING:
            return exact
        return self._first.get(key, NOTHING) if type_ is None else self._typed.get((key, None), NOTHING)

    def typed(self, element: dict[str, Any]) -> None:
        """One that said no type has been given one."""
        key = key_of(self._form(element))
        if _type_of(element) is not None and self._typed.get((key, None)) is element:
            del self._typed[key, None]
            self.note(element)


def is_true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def only_primary(elements: list[Any], chosen: dict[str, Any]) -> None:
    # RFC 7643 §2.4: the primary value occurs no more than once.
    for element in elements:
        if isinstance(element, dict) and element is not chosen and is_true(element.get("primary")):
            element["primary"] = False


def without_listed(there: Sequence[Any], value: Any, form: Callable[[Any], Any] = as_it_is) -> list[Any]:
    """A remove that names elements of a list in its `value` means only those; of one that it names without a type, any type."""
    unwanted = {(key_of(form(element)), _type_of(element)) for element in (value if isinstance(value, list) else [value])}
    keyed = [(key_of(form(element)), element) for element in there]
    return [element for key, element in keyed if (key, None) not in unwanted and (key, _type_of(element)) not in unwanted]
