"""Microsoft Graph's change notifications: proving that the address is ours, and reading what they announce.

A notice names whom to look at and never what became of them; the next round of changes says that. A notice may come twice, late, for
several subscriptions at once, or from somebody else: what makes it Graph's is the client state, which only Graph was told.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from connectors.contract import Refused, Secret, Unauthorised, Unreachable
from connectors.documents import Document

LONGEST_TOKEN: Final = 4096


@dataclass(frozen=True, kw_only=True)
class Notices:
    """`changed` are ids of users and groups. `missed`: Graph says that some were lost. `expiring` have to be renewed, `ended` to be made anew."""

    changed: frozenset[str]
    missed: bool
    expiring: frozenset[str]
    ended: frozenset[str]


def answer_validation(token: str) -> str:
    """The body of the answer, to be sent as text/plain with status 200 and within ten seconds. `token` is the query's, decoded once.

    Raises Refused for what cannot be one. It must never be sent as HTML: whoever calls chose the text.
    """
    if not 0 < len(token) <= LONGEST_TOKEN or not token.isprintable():
        raise Refused("the validation token is empty, too long or holds control characters")
    return token


def read_notices(content: bytes, *, client_states: Mapping[str, Secret]) -> Notices:
    """`client_states` by id of subscription. Raises Unauthorised where any notice is not of one of them, Refused for what cannot be read."""
    changed, missed, expiring, ended = set[str](), False, set[str](), set[str]()
    try:
        read = json.loads(content)
        if not isinstance(read, dict) or not isinstance(read.get("value"), list):
            raise ValueError
        for notice in Document(read, source="change notification").parts("value"):
            subscription = _proved(notice, client_states)
            match notice.text("lifecycleEvent"):
                case "":
                    changed.add(notice.part("resourceData").text("id"))
                case "missed":
                    missed = True
                case "subscriptionRemoved":
                    ended.add(subscription)
                    missed = True
                case _:
                    # reauthorizationRequired, and whatever they think of next: to renew does no harm.
                    expiring.add(subscription)
    except (ValueError, RecursionError, Unreachable) as error:
        raise Refused("the change notification's body is not Graph's format") from error
    return Notices(changed=frozenset(changed - {""}), missed=missed, expiring=frozenset(expiring), ended=frozenset(ended))


def _proved(notice: Document, client_states: Mapping[str, Secret]) -> str:
    subscription = notice.text("subscriptionId")
    wanted = client_states.get(subscription)
    said = notice.text("clientState").encode(errors="replace")
    if wanted is None or not wanted.reveal() or not hmac.compare_digest(said, wanted.reveal().encode()):
        raise Unauthorised("a change notification without the client state of its subscription")
    return subscription
