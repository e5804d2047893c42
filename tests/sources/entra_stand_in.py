"""A tenant of Entra ID in this process, by Microsoft Graph: it keeps Graph's paging, throttling and delta rules, and has a clock of its own.

Delta rounds come in small pages, some of them empty, with objects told twice, a group's members in pieces, and the last change before
the round told again. Delta tokens last seven days, then 410. Deleted users are gone from lists and can be restored. Casts and counts
want `ConsistencyLevel: eventual`. Nothing is shown that was not selected.
"""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.wrappers import Request, Response

from tests.sources.answering import Application, answering

TENANT = "7d1b6d2e-0000-4000-8000-00000000c0de"
CLIENT = "11111111-2222-4333-8444-555555555555"
SECRET = "Abc8Q~SecretOfTheApplication.42"
BEGINNING = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
USER, GROUP, DEVICE = "#microsoft.graph.user", "#microsoft.graph.group", "#microsoft.graph.device"

Item = dict[str, Any]


class EntraTenant(Application):
    """`allowance` calls pass before one is throttled, `behind` are people whom single reads still show as they were."""

    def __init__(self, *, page: int = 100, delta_page: int = 2) -> None:
        self.now = BEGINNING
        self.page = page
        self.delta_page = delta_page
        self.objects: dict[str, Item] = {}
        self.members: dict[str, list[str]] = {}
        self.deleted: dict[str, Item] = {}
        self.behind: dict[str, Item] = {}
        self.news: list[tuple[str, Item]] = []
        self.issued: dict[str, tuple[int, datetime, list[str]]] = {}
        self.allowance: int | None = None
        self.fails: dict[str, tuple[int, str]] = {}
        self.certificate: x509.Certificate | None = None
        self.subscriptions: dict[str, Item] = {}
        self.subscribed = 0
        self.asked: list[str] = []
        self.tokens = 0
        self._bearer = ""
        self._left = 0
        self._count = 0

    # What an administrator of Entra does.

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)

    def hire(self, upn: str, *, manager: str | None = None, **properties: Any) -> str:
        key = self._new(USER, {"userPrincipalName": upn, "mail": upn, "accountEnabled": True, "userType": "Member", **properties})
        if manager is not None:
            self.objects[key]["manager"] = manager
        self._told(key, {name: value for name, value in self.objects[key].items() if name != "manager"})
        return key

    def change(self, key: str, **properties: Any) -> None:
        self.objects[key] |= properties
        self._told(key, properties)

    def manage(self, key: str, manager: str) -> None:
        self.objects[key]["manager"] = manager
        self._told(key, {"manager@delta": [{"@odata.type": USER, "id": manager}]})

    def delete(self, key: str) -> None:
        """Softly: for thirty days it can be restored."""
        self.deleted[key] = self.objects.pop(key)
        for group, members in self.members.items():
            if key in members:
                self.leave(group, key)
        self._told(key, {"@removed": {"reason": "changed"}})

    def restore(self, key: str) -> None:
        self.objects[key] = self.deleted.pop(key)
        self._told(key, {name: value for name, value in self.objects[key].items() if name != "manager"})

    def device(self) -> str:
        return self._new(DEVICE, {"displayName": "LAPTOP-42"})

    def group(self, name: str, *members: str) -> str:
        key = self._new(GROUP, {"displayName": name})
        self.members[key] = list(members)
        self._told(key, {"displayName": name, "members@delta": [self._member(one) for one in members]})
        return key

    def rename(self, group: str, name: str) -> None:
        self.change(group, displayName=name)

    def join(self, group: str, key: str) -> None:
        self.members[group].append(key)
        self._told(group, {"members@delta": [self._member(key)]})

    def leave(self, group: str, key: str) -> None:
        self.members[group].remove(key)
        self._told(group, {"members@delta": [{**self._member(key), "@removed": {"reason": "deleted"}}]})

    def dissolve(self, group: str) -> None:
        del self.objects[group]
        del self.members[group]
        self._told(group, {"@removed": {"reason": "changed"}}, kind=GROUP)

    def end_token(self) -> None:
        self._bearer = ""

    def wait(self, seconds: float) -> None:
        self.later(seconds=seconds)
        self._left = 0

    def notify(self, *keys: str, client_state: str | None = None) -> bytes:
        """What Graph would post for these, for every subscription at once."""
        notices = [
            {
                "subscriptionId": subscription,
                "clientState": said["clientState"] if client_state is None else client_state,
                "changeType": "updated",
                "resource": f"Users/{key}",
                "resourceData": {"@odata.type": "#Microsoft.Graph.User", "id": key},
                "tenantId": TENANT,
            }
            for subscription, said in self.subscriptions.items()
            for key in keys
        ]
        return json.dumps({"value": notices}).encode()

    # What it answers.

    def respond(self, request: Request) -> Response:
        self.asked.append(f"{request.method} {request.path}")
        if request.path == f"/{TENANT}/oauth2/v2.0/token":
            return self._token(request)
        if request.path == "/v1.0/":
            return self._json({"value": [{"name": "users", "kind": "EntitySet", "url": "users"}]})
        if not self._bearer or request.headers.get("Authorization") != f"Bearer {self._bearer}":
            return self._error(401, "InvalidAuthenticationToken", "Access token has expired or is not yet valid.")
        if self.allowance is not None:
            self._left += 1
            if self._left > self.allowance:
                answer = self._error(429, "TooManyRequests", "Too many requests")
                answer.headers["Retry-After"] = "17"
                return answer
        if request.path in self.fails:
            status, code = self.fails[request.path]
            return self._error(status, code, "Something is wrong there")
        return self._found(request)

    def _found(self, request: Request) -> Response:
        eventual = request.headers.get("ConsistencyLevel") == "eventual"
        match request.path.strip("/").split("/")[1:]:
            case ["users" | "groups" as what, "$count"] if eventual:
                found = [item for item in self._all(what) if "Guest" not in request.args.get("$filter", "") or item["userType"] == "Guest"]
                return Response(f"\ufeff{len(found)}", content_type="text/plain")
            case ["users" | "groups" as what, "delta"]:
                return self._delta(request, what)
            case ["users" | "groups" as what]:
                return self._list(request, list(self._all(what)))
            case ["users", key]:
                item = self.behind.get(key) or self.objects.get(key)
                return self._json(self._shown(request, item)) if item and item["@odata.type"] == USER else self._missing(key)
            case ["groups", key, *_] if key not in self.members:
                return self._missing(key)
            case ["groups", key]:
                return self._json(self._shown(request, self.objects[key]))
            case ["groups", key, "transitiveMembers"]:
                return self._list(request, [self.objects[one] for one in self._inside(key)])
            case ["groups", key, "transitiveMemberOf"]:
                return self._list(request, [self.objects[one] for one in self.members if key in self._inside(one)])
            case ["groups", key, "members", "microsoft.graph.group"] if eventual:
                return self._list(request, [self.objects[one] for one in self.members[key] if one in self.members])
            case ["directory", "deletedItems", key]:
                return self._json(self._shown(request, self.deleted[key])) if key in self.deleted else self._missing(key)
            case ["subscriptions"] if request.method == "POST":
                return self._subscribe(json.loads(request.data))
            case ["subscriptions", key] if request.method == "PATCH" and key in self.subscriptions:
                self.subscriptions[key] |= json.loads(request.data)
                return self._json({"id": key, **self.subscriptions[key]})
            case ["subscriptions", key]:
                return self._error(404, "ResourceNotFound", "The object was not found.")
        return self._error(400, "BadRequest", "Resource not found for the segment.")

    def _list(self, request: Request, items: list[Item]) -> Response:
        begin, size = int(request.args.get("$skiptoken", "0")), min(int(request.args.get("$top", self.page)), self.page)
        body: Item = {"value": [self._shown(request, item) for item in items[begin : begin + size]]}
        if begin + size < len(items):
            asked = "&".join(f"{name}={quote(value)}" for name, value in request.args.items() if name != "$skiptoken")
            body["@odata.nextLink"] = f"{self.url}{request.path}?{asked}&$skiptoken={begin + size}"
        return self._json(body)

    def _delta(self, request: Request, what: str) -> Response:
        token, select = request.args.get("$deltatoken"), request.args.get("$select", "").split(",")
        if token == "latest":
            return self._json({"value": [], "@odata.deltaLink": self._link(request, len(self.news), select)})
        named, at = (token, 0) if token else request.args["$skiptoken"].rsplit("-", 1)
        if named not in self.issued:
            return self._error(400, "syncStateNotFound", "The sync state generation is not found")
        behind, issued, select = self.issued[named]
        if self.now - issued > timedelta(days=7):
            answer = self._error(410, "resyncRequired", "Resync required. Replace any local items with the server's version.")
            answer.headers["Location"] = f"{self.url}{request.path}?$deltatoken="
            return answer
        kind = USER if what == "users" else GROUP
        # Told again is what came just before, and the first of the news comes twice.
        news = [item for told, item in self.news[max(0, behind - 1) :] if told == kind]
        news = news + news[:1]
        # Every second page is empty, which is no end.
        page = int(at)
        begin = page // 2 * self.delta_page
        minimal = request.headers.get("Prefer") == "return=minimal"
        shown = [] if page % 2 else [self._selected(item, select, minimal) for item in news[begin : begin + self.delta_page]]
        body: Item = {"value": shown}
        if begin + self.delta_page < len(news):
            body["@odata.nextLink"] = f"{self.url}{request.path}?$skiptoken={named}-{page + 1}"
        else:
            body["@odata.deltaLink"] = self._link(request, len(self.news), select)
        return self._json(body)

    def _link(self, request: Request, behind: int, select: list[str]) -> str:
        named = f"state{len(self.issued)}"
        self.issued[named] = (behind, self.now, select)
        return f"{self.url}{request.path}?$deltatoken={named}"

    def _selected(self, item: Item, select: list[str], minimal: bool) -> Item:
        """Only what changed; or, unless that was asked for, what did not as well."""
        known = {} if minimal or "@removed" in item else self.objects.get(item["id"], {})
        told = {**known, **item}
        always = {"id", "@removed"}
        return {name: value for name, value in told.items() if name in always or name.removesuffix("@delta") in select}

    def _shown(self, request: Request, item: Item) -> Item:
        select = request.args.get("$select", "").split(",")
        shown = {name: item.get(name) for name in select if name in ("id", "displayName") or name in item}
        if "manager" in request.args.get("$expand", "") and (manager := item.get("manager")):
            shown["manager"] = {"@odata.type": USER, "id": manager}
        return {"@odata.type": item["@odata.type"], **shown}

    def _all(self, what: str) -> Iterator[Item]:
        kind = USER if what == "users" else GROUP
        return (item for item in self.objects.values() if item["@odata.type"] == kind)

    def _inside(self, group: str) -> list[str]:
        found: dict[str, None] = {}
        waiting = [group]
        while waiting:
            for member in self.members.get(waiting.pop(), ()):
                if member not in found:
                    found[member] = None
                    waiting.append(member)
        return list(found)

    def _new(self, kind: str, properties: Item) -> str:
        self._count += 1
        key = f"00000000-0000-4000-8000-{self._count:012d}"
        self.objects[key] = {"@odata.type": kind, "id": key, **properties}
        return key

    def _told(self, key: str, item: Item, *, kind: str | None = None) -> None:
        known = self.objects.get(key) or self.deleted.get(key)
        told = {name: value for name, value in item.items() if name != "@odata.type"}
        self.news.append((kind or (known or {})["@odata.type"], {"id": key, **told}))

    def _member(self, key: str) -> Item:
        known = self.objects.get(key) or self.deleted[key]
        return {"@odata.type": known["@odata.type"], "id": key}

    def _subscribe(self, body: Item) -> Response:
        said = "Validation: Testing client application reachability for subscription <b>1</b>"
        asked = urllib.request.Request(f"{body['notificationUrl']}?validationToken={quote(said)}", data=b"", method="POST")
        with urllib.request.urlopen(asked, timeout=5) as answer:
            plain = answer.headers["Content-Type"].startswith("text/plain")
            if answer.status != 200 or answer.read().decode() != said or not plain:
                return self._error(400, "ValidationError", "Subscription validation request failed.")
        key = f"subscription-{self.subscribed}"
        self.subscribed += 1
        self.subscriptions[key] = body
        return self._json({"id": key, **body})

    def _token(self, request: Request) -> Response:
        form = request.form
        if form["grant_type"] != "client_credentials" or form["scope"] != f"{self.url}/.default" or form["client_id"] != CLIENT:
            return self._oauth_error("invalid_request", "AADSTS900144")
        if self.certificate is not None:
            key = RSAKey.import_key(self.certificate.public_key())  # type: ignore[arg-type]  # an RSA certificate, by the tests
            token = jwt.decode(form["client_assertion"], key, algorithms=["PS256"])
            digest = base64.urlsafe_b64encode(hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).digest()).rstrip(b"=").decode()
            if (
                token.header.get("x5t#S256") != digest
                or token.claims["aud"] != f"{self.url}{request.path}"
                or token.claims["sub"] != CLIENT
            ):
                return self._oauth_error("invalid_client", "AADSTS700027")
        elif form.get("client_secret") != SECRET:
            return self._oauth_error("invalid_client", "AADSTS7000215: Invalid client secret provided.")
        self.tokens += 1
        self._bearer = f"graph-access-token-{self.tokens}"
        return self._json({"token_type": "Bearer", "expires_in": 3599, "access_token": self._bearer})

    def _missing(self, key: str) -> Response:
        return self._error(
            404, "Request_ResourceNotFound", f"Resource '{key}' does not exist or one of its queried objects are not present."
        )

    @staticmethod
    def _oauth_error(error: str, description: str) -> Response:
        return Response(json.dumps({"error": error, "error_description": description}), 401, content_type="application/json")

    @staticmethod
    def _error(status: int, code: str, message: str) -> Response:
        return Response(json.dumps({"error": {"code": code, "message": message}}), status, content_type="application/json")

    @staticmethod
    def _json(body: object) -> Response:
        return Response(json.dumps(body), content_type="application/json")


@contextmanager
def entra(*, page: int = 100, delta_page: int = 2) -> Iterator[EntraTenant]:
    tenant = EntraTenant(page=page, delta_page=delta_page)
    with answering(tenant):
        yield tenant
