"""What several say at once of people's attributes is what it would be one after the other, on either database."""

from pathlib import Path
from typing import Any

import pytest

from app.directory.vocabulary import ENTERPRISE_URN
from tests.unit.scim.twins import Twin, active, both_ways, change, set_up

pytestmark = pytest.mark.slow


def test_several_are_changed_together_as_if_one_after_the_other(urls: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[list[int | None]] = []
    manager = f"{ENTERPRISE_URN}:manager"

    def story(twin: Twin) -> None:
        set_up(twin)
        names = ("boss", "chief", "ada", "bob", "cy", "dee")
        for name in names:
            twin.tell(name, "POST", "/Users", {"userName": name, "emails": [{"value": f"{name}@x.example"}]})
        twin.tell("", "PATCH", "/Users/{dee}", active(False))
        # Two under one manager, one who is their own, addresses that come and go; one says what is so, another is out.
        said = {
            "boss": change("replace", manager, "<boss>"), "chief": change("add", manager, "<boss>"), "ada": change("add", manager, "<boss>"),
            "bob": change("replace", "emails", [{"value": "b@x.example"}, {"value": "bob@x.example"}]), "cy": change("replace", "userName", "cy"),
            "dee": change("replace", "title", "Out"),
        }  # fmt: skip
        taken.append(twin.tell_together(*(("", "PATCH", f"/Users/{{{name}}}", body) for name, body in said.items())))
        # Where somebody is switched on the same journey, on PostgreSQL, whoever is only changed takes the ordinary way.
        put: list[dict[str, Any]] = [{"userName": name, "title": "All of it", "emails": []} for name in ("boss", "chief", "ada")]
        put.insert(1, {"userName": "bob", "emails": said["bob"]["Operations"][0]["value"], "active": False})
        taken.append(twin.tell_together(*(("", "PUT", f"/Users/{{{body['userName']}}}", body) for body in put)))
        for name in names:
            twin.tell("", "GET", f"/Users/{{{name}}}")

    both_ways(urls, tmp_path, monkeypatch, story)

    together = urls[0].startswith("postgresql")
    assert taken[:2] == [[*[200] * 5, None], [200, 200, None, None] if together else [200] * 4]
