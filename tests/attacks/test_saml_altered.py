"""Whatever is altered in a good response, it is refused in words, or says the same of the same person."""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import deepcopy

import pytest
from lxml import etree

from app.sso.refusals import Refused
from tests.attacks.saml_door import Door
from tests.saml_provider import Element, encrypt, read_again, sign

TIMES = 400


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Door:
    return Door(tmp_path_factory.mktemp("saml"))


def _encrypted(door: Door) -> Element:
    tree = door.says(attributes={"groups": ["staff"]})
    encrypt(tree, door.to.certificate)
    sign(tree, door.idp.key)
    return read_again(tree)


def _signed_twice(door: Door) -> Element:
    return door.both(attributes={"groups": ["staff"]})


def _signed_once(door: Door) -> Element:
    return door.says(attributes={"groups": ["staff"]})


GOOD = [_signed_once, _signed_twice, _encrypted]


def _bytes_altered(tree: Element, chance: random.Random) -> bytes:
    content = bytearray(etree.tostring(tree))
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(content))
        match chance.randrange(4):
            case 0:
                content[place] ^= 1 << chance.randrange(8)
            case 1:
                del content[place : place + chance.randint(1, 40)]
            case 2:
                content[place:place] = chance.choice(
                    [b"<", b">", b"&", b"\x00", b"<!--", b"-->", b"<?x?>", b"&#0;", b'" ID="', b"]]>", b" ", b"\xff"]
                )
            case _:
                start = chance.randrange(len(content))
                content[place:place] = content[start : start + chance.randint(1, 400)]
    return bytes(content)


def _tree_altered(tree: Element, chance: random.Random) -> bytes:
    parts = list(tree.iter())
    one, other = chance.choice(parts), chance.choice(parts)
    match chance.randrange(6):
        case 0:
            other.append(deepcopy(one))
        case 1:
            other.addprevious(deepcopy(one)) if other.getparent() is not None else None
        case 2:
            parent = one.getparent()
            if parent is not None:
                parent.remove(one)
        case 3:
            one.text = chance.choice(["", "im-ceo-0001", " ", "x" * 5000, other.text])
        case 4:
            name = chance.choice([*one.attrib, "ID", "Id", "Algorithm", "URI"])
            one.set(name, chance.choice(["", "_assertion", "_response", "#_response", "x", *other.attrib.values()]))
        case _:
            one.tag = other.tag
    return etree.tostring(tree)


@pytest.mark.parametrize("alter", [_bytes_altered, _tree_altered])
@pytest.mark.parametrize("good", GOOD)
def test_nobody_else_comes_in_by_what_was_altered(
    door: Door, good: Callable[[Door], Element], alter: Callable[[Element, random.Random], bytes]
) -> None:
    chance, tree, refused = random.Random(f"{good.__name__} {alter.__name__}"), good(door), 0
    known = door.takes(tree)

    for _ in range(TIMES):
        try:
            said = door.takes(alter(deepcopy(tree), chance))
        except Refused:
            refused += 1
        else:
            assert said == known

    assert refused > TIMES // 2
