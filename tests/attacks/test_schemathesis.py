"""The door against its own description: every operation, with what fits the description and with what does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from app.scim.openapi import description
from tests.clients.directory import Directory

DESCRIBED = Path(__file__).parents[2] / "docs" / "scim-openapi.json"
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OPERATIONS = [(path, method) for path, item in description()["paths"].items() for method in item]
BOUNDED = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


def test_the_page_is_what_the_code_says() -> None:
    assert json.loads(DESCRIBED.read_text()) == description(), "run python -m app.scim.openapi > docs/scim-openapi.json"


def test_the_description_and_the_routes_agree(directory: Directory) -> None:
    prefix = "/scim/v2/<source_id>"
    routed = {
        (
            rule.rule.removeprefix(prefix)
            .replace("<resource:record_id>", "{id}")
            .replace("<resource:group_id>", "{id}")
            .replace("<name>", "{id}")
            .replace("<urn>", "{id}"),
            method.lower(),
        )
        for rule in directory.app.url_map.iter_rules()
        if rule.rule.startswith(prefix)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert routed == set(OPERATIONS)


def _somebody(directory: Directory, path: str) -> str:
    """The id of a user, a group or whatever else is named so; made anew where an earlier request deleted it."""
    if path.startswith("/Users"):
        listed = directory.send("GET", "/Users?count=1").document["Resources"]
        return str(listed[0]["id"]) if listed else directory.add_user("somebody")
    if path.startswith("/Groups"):
        listed = directory.send("GET", "/Groups?count=1").document["Resources"]
        return str((listed or [directory.send("POST", "/Groups", {"displayName": "some"}).document])[0]["id"])
    return "User" if path.startswith("/ResourceTypes") else "urn:ietf:params:scim:schemas:core:2.0:User"


def _described_at(directory: Directory) -> Any:
    document = {**description(), "servers": [{"url": directory.base}]}
    described = schemathesis.openapi.from_dict(document)
    described.config.generation.update(with_security_parameters=False)
    return described


def _asks_for_something(path: str, method: str) -> bool:
    """What takes a name and no more cannot be asked for in a way that the description rules out."""
    operation = description()["paths"][path][method]
    return "requestBody" in operation or any(parameter["in"] == "query" for parameter in operation.get("parameters", []))


def _checks(path: str) -> list[Any]:
    # RFC 7644 §3.11 has 501 for a server where a token stands for nobody; it is described, and so no accident.
    return CHECKS[1:] if path == "/Me" else CHECKS


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_as_described(directory: Directory, mode: schemathesis.GenerationMode) -> None:
    described = _described_at(directory)
    for path, method in OPERATIONS:
        if mode is schemathesis.GenerationMode.NEGATIVE and not _asks_for_something(path, method):
            continue
        _try(directory, path, described[path][method.upper()].as_strategy(generation_mode=mode))


def _try(directory: Directory, path: str, requests: Any) -> None:
    @BOUNDED
    @given(requests, st.booleans())
    def sent(case: schemathesis.Case[Any], of_somebody: bool) -> None:
        if "{id}" in path and of_somebody:
            case.path_parameters = {"id": _somebody(directory, path)}
        answer = case.call(app=directory.app, headers={"Authorization": f"Bearer {directory.token}"})

        case.validate_response(answer, checks=_checks(path))

    sent()
