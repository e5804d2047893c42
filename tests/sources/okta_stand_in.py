"""An organisation of Okta in this process: it keeps Okta's paging, throttling, clocks, statuses and log, and has a clock of its own.

The plain list leaves deprovisioned users out; a filter does not. Pages hang on opaque `after` values in Link headers, one header each.
Deactivating takes a user out of every group; deleting works only on the deactivated. A change of members moves lastMembershipUpdated
alone. A search does not see what was written within the last second.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

from joserfc import jwt
from joserfc.jwk import Key
from werkzeug.wrappers import Request, Response

from tests.sources.answering import Application, answering

TOKEN = "00SecretTokenOfOkta42"
BEGINNING = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass(kw_only=True)
class User:
    id: str
    status: str
    profile: dict[str, Any]
    updated: datetime

    def shown(self) -> dict[str, Any]:
        return {"id": self.id, "status": self.status, "lastUpdated": stamp(self.updated), "profile": self.profile}


@dataclass(kw_only=True)
class Group:
    id: str
    type: str
    name: str
    updated: datetime
    members_updated: datetime
    members: list[str] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        times = {"lastUpdated": stamp(self.updated), "lastMembershipUpdated": stamp(self.members_updated)}
        return {"id": self.id, "type": self.type, "profile": {"name": self.name}, **times}


class OktaOrganisation(Application):
    """`allowance` calls are let through a minute (None: any number), `fails` paths answer this status and body; `slow_above`: larger pages fail."""

    def __init__(self, *, largest_page: int = 200) -> None:
        self.now = BEGINNING
        self.largest_page = largest_page
        self.users: dict[str, User] = {}
        self.groups: dict[str, Group] = {}
        self.log: list[dict[str, Any]] = []
        self.allowance: int | None = None
        self.fails: dict[str, tuple[int, bytes]] = {}
        self.forbidden: set[str] = set()
        self.slow_above: int | None = None
        self.asked: list[str] = []
        self.client: tuple[str, Key, str] | None = None
        self.scopes: list[str] = []
        self._bearer = ""
        self._tokens = 0
        self._left: int | None = None
        self._afters: dict[str, int] = {}
        self._count = 0

    # What an administrator of Okta does.

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)

    def hire(self, login: str, *, status: str = "ACTIVE", **profile: Any) -> str:
        self._count += 1
        first, _, last = login.partition("@")[0].partition(".")
        known = {"login": login, "email": login, "firstName": first.title(), "lastName": last.title(), **profile}
        user = User(id=f"00u{self._count:017d}", status=status, profile=known, updated=self.now)
        self.users[user.id] = user
        return user.id

    def change(self, key: str, *, status: str | None = None, **profile: Any) -> None:
        user = self.users[key]
        user.status = status or user.status
        user.profile |= profile
        user.updated = self.now
        if status == "DEPROVISIONED":
            for group in self.groups.values():
                if key in group.members:
                    self.leave(group.id, key)

    def delete(self, key: str) -> None:
        """The first time only deactivates."""
        if self.users[key].status != "DEPROVISIONED":
            self.change(key, status="DEPROVISIONED")
        else:
            del self.users[key]
        self._write("user.lifecycle.delete.initiated", key, "User")

    def group(self, name: str, *members: str, type: str = "OKTA_GROUP") -> str:
        self._count += 1
        group = Group(id=f"00g{self._count:017d}", type=type, name=name, updated=self.now, members_updated=self.now, members=list(members))
        self.groups[group.id] = group
        return group.id

    def rename(self, group: str, name: str) -> None:
        self.groups[group].name = name
        self.groups[group].updated = self.now

    def join(self, group: str, key: str) -> None:
        self.groups[group].members.append(key)
        self.groups[group].members_updated = self.now

    def leave(self, group: str, key: str) -> None:
        self.groups[group].members.remove(key)
        self.groups[group].members_updated = self.now

    def dissolve(self, group: str) -> None:
        del self.groups[group]
        self._write("group.lifecycle.delete", group, "UserGroup")

    def end_token(self) -> None:
        """The access token that was given is over before its time."""
        self._bearer = ""

    # What its API answers.

    def respond(self, request: Request) -> Response:
        self.asked.append(f"{request.path}?{request.query_string.decode()}" if request.query_string else request.path)
        answer = self._answer(request)
        answer.headers["Date"] = format_datetime(self.now, usegmt=True)
        if self.allowance is not None:
            answer.headers["X-Rate-Limit-Limit"] = str(self.allowance)
        return answer

    def _answer(self, request: Request) -> Response:
        if request.path == "/.well-known/okta-organization":
            return self._json({"id": "00o1", "pipeline": "idx"})
        if request.path == "/oauth2/v1/token":
            return self._token(request)
        if not self._let_in(request):
            return self._error(401, "E0000011", "Invalid token provided")
        if (wait := self._throttle()) is not None:
            return wait
        if request.path in self.fails:
            status, content = self.fails[request.path]
            return Response(content, status)
        if request.path in self.forbidden:
            return self._error(403, "E0000006", "You do not have permission to perform the requested action")
        if self.slow_above is not None and int(request.args.get("limit", "0")) > self.slow_above:
            return self._error(500, "E0000009", "Internal Server Error")
        return self._found(request)

    def _found(self, request: Request) -> Response:
        match request.path.strip("/").split("/")[2:]:
            case ["users"]:
                return self._page(request, [user.shown() for user in self._matching_users(request)])
            case ["users", key]:
                user = self.users.get(key) or next((user for user in self.users.values() if user.profile["login"] == key), None)
                return self._json(user.shown()) if user else self._missing(key)
            case ["groups"]:
                return self._page(request, [group.shown() for group in self._matching_groups(request)])
            case ["groups", key] if key in self.groups:
                return self._json(self.groups[key].shown())
            case ["groups", key, "users"] if key in self.groups:
                return self._page(request, [self.users[member].shown() for member in self.groups[key].members])
            case ["groups", key, *_]:
                return self._missing(key)
            case ["logs"]:
                return self._page(request, list(self._logged(request)))
        return self._error(404, "E0000008", "The requested path was not found")

    def _matching_users(self, request: Request) -> Iterator[User]:
        asked = request.args.get("filter")
        since = None if asked is None else self._since(asked, "lastUpdated")
        for user in self.users.values():
            if asked is None:
                if user.status != "DEPROVISIONED":
                    yield user
            elif since is not None and since < user.updated <= self.now - timedelta(seconds=1):
                yield user

    def _matching_groups(self, request: Request) -> Iterator[Group]:
        asked = request.args.get("filter")
        for group in self.groups.values():
            if asked is None:
                yield group
                continue
            first, second = self._since(asked, "lastUpdated"), self._since(asked, "lastMembershipUpdated")
            if (first and group.updated > first) or (second and group.members_updated > second):
                yield group

    def _logged(self, request: Request) -> Iterator[dict[str, Any]]:
        since, until = request.args["since"], request.args.get("until", "9999")
        kinds = re.findall(r'eventType eq "([^"]+)"', request.args.get("filter", ""))
        for event in self.log:
            if since <= event["published"] <= until and event["eventType"] in kinds:
                yield event

    @staticmethod
    def _since(asked: str, clock: str) -> datetime | None:
        found = re.search(rf'\b{clock} gt "([^"]+)"', asked)
        return datetime.fromisoformat(found[1]) if found else None

    def _page(self, request: Request, items: list[dict[str, Any]]) -> Response:
        limit = min(int(request.args.get("limit", self.largest_page)), self.largest_page)
        after = request.args.get("after")
        if after is not None and after not in self._afters:
            return self._error(400, "E0000001", "Api validation failed: after")
        begin = self._afters[after] if after else 0
        answer = self._json(items[begin : begin + limit])
        answer.headers.add("Link", f'<{self.url}{request.path}>; rel="self"')
        if begin + limit < len(items):
            named = f"opaque{len(self._afters)}"
            self._afters[named] = begin + limit
            query = "&".join(f"{name}={value}" for name, value in request.args.items() if name in ("limit",))
            # Okta writes what was asked into the link again; here the place in the list is enough, but for the filter.
            asked = f"&filter={quote(request.args['filter'], safe='')}" if "filter" in request.args else ""
            more = "".join(f"&{name}={request.args[name]}" for name in ("since", "until") if name in request.args)
            answer.headers.add("Link", f'<{self.url}{request.path}?after={named}&{query}{asked}{more}>; rel="next"')
        return answer

    def _throttle(self) -> Response | None:
        if self.allowance is None:
            return None
        self._left = self.allowance if self._left is None else self._left
        if self._left:
            self._left -= 1
            return None
        # The whole minute's calls come back at once, at a time that only the header tells.
        answer = self._error(429, "E0000047", "API call exceeded rate limit due to too many requests.")
        answer.headers["X-Rate-Limit-Remaining"] = "0"
        answer.headers["X-Rate-Limit-Reset"] = str(int((self.now + timedelta(seconds=37)).timestamp()))
        return answer

    def wait(self, seconds: float) -> None:
        """What a caller's patience does to the clock here."""
        self.later(seconds=seconds)
        if seconds >= 37:
            self._left = self.allowance

    def _let_in(self, request: Request) -> bool:
        said = request.headers.get("Authorization", "")
        if self.client is None:
            return said == f"SSWS {TOKEN}"
        return bool(self._bearer) and said == f"Bearer {self._bearer}"

    def _token(self, request: Request) -> Response:
        if self.client is None:
            return self._oauth_error("invalid_client")
        client, key, kid = self.client
        form = request.form
        token = jwt.decode(form["client_assertion"], key, algorithms=["RS256", "ES256"])
        right = (
            form["grant_type"] == "client_credentials"
            and form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            and token.header.get("kid") == kid
            and token.claims["iss"] == token.claims["sub"] == client
            and token.claims["aud"] == f"{self.url}/oauth2/v1/token"
            and 0 < token.claims["exp"] - token.claims["iat"] <= 3600
        )
        if not right:
            return self._oauth_error("invalid_client")
        self._tokens += 1
        self._bearer = f"okta-access-token-{self._tokens}"
        self.scopes = form["scope"].split()
        return self._json({"token_type": "Bearer", "expires_in": 3600, "access_token": self._bearer, "scope": form["scope"]})

    def _write(self, event: str, key: str, kind: str) -> None:
        self.log.append(
            {"uuid": f"event-{len(self.log)}", "eventType": event, "published": stamp(self.now), "target": [{"id": key, "type": kind}]}
        )

    def _missing(self, key: str) -> Response:
        return self._error(404, "E0000007", f"Not found: Resource not found: {key}")

    def _oauth_error(self, error: str) -> Response:
        return Response(json.dumps({"error": error, "error_description": "The client is not known."}), 401, content_type="application/json")

    @staticmethod
    def _error(status: int, code: str, summary: str) -> Response:
        body = {"errorCode": code, "errorSummary": summary, "errorLink": code, "errorId": "oae1", "errorCauses": []}
        return Response(json.dumps(body), status, content_type="application/json")

    @staticmethod
    def _json(body: object) -> Response:
        return Response(json.dumps(body), content_type="application/json")


@contextmanager
def okta(*, largest_page: int = 200) -> Iterator[OktaOrganisation]:
    organisation = OktaOrganisation(largest_page=largest_page)
    with answering(organisation):
        yield organisation
