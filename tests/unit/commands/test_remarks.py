"""What a rule file may have meant otherwise is remarked on by whoever reads it."""

from __future__ import annotations

import pytest

from tests.unit.commands.conftest import Desk
from tests.unit.commands.test_rules import DEPARTMENTS, EVERYONE, staffed


@pytest.mark.parametrize("verb", ["test", "diff", "apply"])
def test_a_name_that_nobody_has_is_remarked_on(desk: Desk, verb: str) -> None:
    staffed(desk)
    file = desk.file("rules.yaml", EVERYONE + "    where: 'not (userTyp eq \"Contractor\")'\n")

    [remark] = desk.asks("rules", verb, file)["remarks"]

    assert remark == "rule 'everyone', field 'where': nobody has 'userTyp'; did you mean 'userType'?"
    said = desk.types("rules", verb, file)
    assert remark in said.out + said.err and "nothing wrong" not in said.out + said.err
    assert desk.asks("rules", verb, desk.file("rules.yaml", DEPARTMENTS))["remarks"] == []
