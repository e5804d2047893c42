"""The page of attacks is true: each module that it names for an id tries that attack."""

from __future__ import annotations

import re
from pathlib import Path

HOUSE = Path(__file__).parents[2]
ROW = re.compile(r"^\| ([SOWGDAL]\d\d) \| [^|]* \| (`test_[^|]*`) \|$", re.MULTILINE)


def tries(id: str) -> re.Pattern[str]:
    """In a test's name, or in words."""
    return re.compile(rf"_{id.lower()}_|\b{id}\b|S01-S08") if id in {f"S0{n}" for n in range(1, 9)} else re.compile(rf"_{id.lower()}_|\b{id}\b")


def test_each_attack_is_tried_where_the_page_says() -> None:
    rows = ROW.findall((HOUSE / "docs" / "attacks.md").read_text())
    assert len(rows) > 100

    untrue = []
    for id, modules in rows:
        for module in re.findall(r"`(test_\w+)`", modules):
            path = HOUSE / "tests" / "attacks" / f"{module}.py"
            if not path.exists() or not tries(id).search(path.read_text()):
                untrue.append((id, module))

    assert untrue == []
