"""Microsoft Graph's change notifications: whose they are, and whom they name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from werkzeug.wrappers import Request, Response

from connectors.contract import Missing, Refused, Secret, Unauthorised
from connectors.sources.entra_notices import answer_validation, read_notices
from tests.sources.answering import Application, answering
from tests.sources.entra_arrangement import company, source
from tests.sources.entra_stand_in import EntraTenant, entra


@pytest.fixture
def tenant() -> Iterator[EntraTenant]:
    with entra(page=3) as made:
        yield made


class Door(Application):
    """Answers as a door of ours would."""

    def respond(self, request: Request) -> Response:
        return Response(answer_validation(request.args["validationToken"]), content_type="text/plain; charset=utf-8")


def test_a_subscription_is_validated_and_its_notices_are_ours(tenant: EntraTenant) -> None:
    _, ada = company(tenant)
    state = Secret("only-graph-knows")
    until = tenant.now + timedelta(days=2)
    with answering(door := Door()):
        made = source(tenant).subscribe(resource="users", to=f"{door.url}/notices", client_state=state, until=until)

    found = read_notices(tenant.notify(ada, ada), client_states={made: state})

    assert found.changed == {ada} and not found.missed
    source(tenant).renew(made, until=until + timedelta(days=1))
    assert tenant.subscriptions[made]["expirationDateTime"] == "2026-03-04T09:00:00Z"
    with pytest.raises(Missing):
        source(tenant).renew("subscription-9", until=until)


def notice(**members: Any) -> bytes:
    return json.dumps({"value": [{"subscriptionId": "s", "clientState": "only-graph-knows", **members}]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        notice(clientState="guessed"),
        notice(clientState=None),
        notice(clientState=""),
        notice(subscriptionId="t"),
        notice(subscriptionId="", clientState=""),
        notice(subscriptionId=None),
    ],
)
def test_a_notice_without_the_client_state_is_refused(body: bytes) -> None:
    with pytest.raises(Unauthorised):
        read_notices(body, client_states={"s": Secret("only-graph-knows"), "": Secret("")})


def test_one_foreign_notice_among_ours_refuses_them_all() -> None:
    ours = json.loads(notice(resourceData={"id": "1"}))["value"]
    theirs = json.loads(notice(clientState="guessed", resourceData={"id": "2"}))["value"]

    with pytest.raises(Unauthorised):
        read_notices(json.dumps({"value": ours + theirs}).encode(), client_states={"s": Secret("only-graph-knows")})


def test_what_happens_to_the_subscription_itself_is_told() -> None:
    state = {"s": Secret("only-graph-knows")}

    assert read_notices(notice(lifecycleEvent="missed"), client_states=state).missed
    assert read_notices(notice(lifecycleEvent="reauthorizationRequired"), client_states=state).expiring == {"s"}
    removed = read_notices(notice(lifecycleEvent="subscriptionRemoved"), client_states=state)
    assert removed.ended == {"s"} and removed.missed


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"\xff", b"{}", b'{"value": {}}', b'{"value": [7]}', b'{"value": [{"subscriptionId": 7}]}', b"[" * 100_000]
)
def test_a_notice_in_another_format_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        read_notices(body, client_states={})


@pytest.mark.parametrize("token", ["", "x" * 4097, "a\r\nSet-Cookie: b=c"])
def test_a_validation_token_that_is_none_is_not_said_back(token: str) -> None:
    with pytest.raises(Refused):
        answer_validation(token)
