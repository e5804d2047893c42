"""The same directory pushed over SCIM, as Okta and as Entra do."""

from __future__ import annotations

from collections.abc import Mapping

from app.directory.vocabulary import ENTERPRISE_URN, GROUP_URN, USER_URN
from tests.clients.directory import PATCH_URN, Directory
from tests.journeys.change_set import Circle, Human, State
from tests.journeys.okta import Document, Okta
from tests.journeys.ways_in import Desk, Differences, Way, entry_of, manager_of


class ByOkta(Way):
    """Profiles by PUT, on and off by PATCH. Okta deletes nobody: whoever is deleted there is off here."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        added = desk.types("source", "add", "scim", "okta")
        self._client = _OktaClient(added["base_url"], added["token"])

    def tells(self, before: State, now: State) -> None:
        self._client.pushes(before, now)


class _OktaClient(Okta):
    def __init__(self, base_url: str, token: str) -> None:
        super().__init__(base_url, token)
        self._ids: dict[str, str] = {}
        self._groups: dict[str, str] = {}

    def pushes(self, before: State, now: State) -> None:
        changes = Differences(before, now)
        for one in changes.off:
            self._patch(f"/Users/{self._ids[one.entry]}", {"op": "replace", "value": {"active": False}})
        for one in changes.changed:
            seen = self._call("GET", f"/Users/{self._ids[one.entry]}", good=(200,))
            # What Okta has no value for it leaves out, and the whole is put.
            kept = {name: value for name, value in seen.items() if name not in ("title", "userType", ENTERPRISE_URN)}
            self._put(self._ids[one.entry], {**kept, **self._profile(one, now), "active": seen["active"]})
        for one in changes.on:
            self._patch(f"/Users/{self._ids[one.entry]}", {"op": "replace", "value": {"active": True}})
        for one in changes.joined:
            self._assign(one, now)
        for one in changes.led_by_later:
            self._put(self._ids[one.entry], {**self._profile(one, now), "active": one.on})
        self._push_groups(changes, now)

    def _assign(self, one: Human, now: State) -> None:
        body = {**self._profile(one, now), "password": "pl4ceh0lder", "active": True}
        found = self._find("/Users", "userName", one.user_name)
        if found is None:
            found = self._call("POST", "/Users", body=body, good=(201,))
        else:
            self._put(str(found["id"]), {**body, "id": found["id"]})
        self._ids[one.entry] = str(found["id"])

    def _profile(self, one: Human, now: State) -> Document:
        manager = manager_of(one, now)
        work = {"employeeNumber": one.number, "department": one.department}
        enterprise: Document = {name: value for name, value in work.items() if value}
        if manager is not None and manager.entry in self._ids:
            enterprise["manager"] = {"value": self._ids[manager.entry]}
        said = {"title": one.title, "userType": one.kind}
        return {
            "schemas": [USER_URN, ENTERPRISE_URN], "userName": one.user_name, "name": {"givenName": one.given, "familyName": one.family},
            "emails": [{"primary": True, "value": one.mail, "type": "work"}], "displayName": one.display, "locale": "en-US",
            "externalId": f"00u-{one.entry}", "groups": [], **{name: value for name, value in said.items() if value}, ENTERPRISE_URN: enterprise,
        }  # fmt: skip

    def _push_groups(self, changes: Differences, now: State) -> None:
        for key in changes.dissolved:
            self._call("DELETE", f"/Groups/{self._groups.pop(key)}", good=(204,))
        for key, circle in changes.renamed.items():
            self._echo_name(key, circle)
        for key, circle in changes.formed.items():
            empty = {"schemas": [GROUP_URN], "displayName": circle.name, "members": []}
            self._groups[key] = str(self._call("POST", "/Groups", body=empty, good=(201,))["id"])
        for key, (joined, parted) in changes.members.items():
            self._echo_name(key, now.circles[key])
            operations: list[Document] = [{"op": "remove", "path": f'members[value eq "{self._ids[entry]}"]'} for entry in parted]
            if joined:
                operations.append({"op": "add", "path": "members", "value": [{"value": self._ids[entry], "display": entry} for entry in joined]})
            body = {"schemas": [PATCH_URN], "Operations": operations}
            self._call("PATCH", f"/Groups/{self._groups[key]}", body=body, good=(200, 204))

    def _echo_name(self, key: str, circle: Circle) -> None:
        group_id = self._groups[key]
        self._patch(f"/Groups/{group_id}", {"op": "replace", "value": {"id": group_id, "displayName": circle.name}})


class ByEntra(Way):
    """One operation for each attribute, `active` in quotes, members one by one; deleted softly first, and then for good."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        added = desk.types("source", "add", "scim", "entra")
        self._entra = Directory(app=desk.app, http=desk.app.test_client(), source_id=added["id"], token=added["token"])
        self._ids: dict[str, str] = {}
        self._groups: dict[str, str] = {}

    def tells(self, before: State, now: State) -> None:
        changes = Differences(before, now)
        for one in changes.off:
            self._patches(one, {"op": "Replace", "path": "active", "value": "False"})
        for one in changes.gone:
            self.deletes(one)
        for one in changes.changed:
            was, is_now = _as_entra_says(before.there[one.entry]), _as_entra_says(one)
            # A value that is taken away is sent as an empty one.
            self._patches(one, *({"op": "Replace", "path": path, "value": value} for path, value in is_now.items() if was[path] != value))
        for one in changes.on:
            self._patches(one, {"op": "Replace", "path": "active", "value": "True"})
        for one in changes.joined:
            self._creates(one)
        for one in (*changes.joined, *changes.changed):
            self._names_manager(one, before, now)
        self._pushes_groups(changes, now)

    def deletes(self, one: Human) -> None:
        """No more than that: of whoever named them it says nothing."""
        assert self._entra.send("DELETE", f"/Users/{self._ids[one.entry]}").status == 204

    def _creates(self, one: Human) -> None:
        said = _as_entra_says(one)
        work = {path.rpartition(":")[2]: value for path, value in said.items() if path.startswith(ENTERPRISE_URN) and value}
        answer = self._entra.send(
            "POST", "/Users",
            {
                "schemas": [USER_URN, ENTERPRISE_URN], "externalId": f"oid-{one.entry}", "userName": one.user_name, "active": one.on,
                "displayName": one.display, "emails": [{"primary": True, "type": "work", "value": one.mail}], "meta": {"resourceType": "User"},
                "name": {"familyName": one.family, "givenName": one.given}, "title": one.title or None, "userType": one.kind, ENTERPRISE_URN: work,
            },
        )  # fmt: skip
        assert answer.status == 201, answer.text
        self._ids[one.entry] = str(answer.document["id"])

    def _names_manager(self, one: Human, before: State, now: State) -> None:
        was, manager = before.there.get(one.entry), manager_of(one, now)
        if (was is None and manager is None) or (was is not None and entry_of(manager_of(was, before)) == entry_of(manager)):
            return
        # https://learn.microsoft.com/entra/identity/app-provisioning/use-scim-to-provision-users-and-groups: an empty text takes it away.
        self._patches(one, {"op": "Replace", "path": f"{ENTERPRISE_URN}:manager", "value": "" if manager is None else self._ids[manager.entry]})

    def _pushes_groups(self, changes: Differences, now: State) -> None:
        for key in changes.dissolved:
            assert self._entra.send("DELETE", f"/Groups/{self._groups.pop(key)}").status == 204
        for key, circle in changes.renamed.items():
            self._regroups(key, {"op": "Replace", "path": "displayName", "value": circle.name})
        for key, circle in changes.formed.items():
            answer = self._entra.send("POST", "/Groups", {"schemas": [GROUP_URN], "externalId": f"gid-{key}", "displayName": circle.name})
            assert answer.status == 201, answer.text
            self._groups[key] = str(answer.document["id"])
        for key, (joined, parted) in changes.members.items():
            # Whoever was deleted is in no group any more; Entra says nothing of that.
            for how, entries in (("Remove", [one for one in parted if one in now.there]), ("Add", joined)):
                for entry in entries:
                    self._regroups(key, {"op": how, "path": "members", "value": [{"$ref": None, "value": self._ids[entry]}]})

    def _patches(self, one: Human, *operations: Document) -> None:
        if operations:
            answer = self._entra.patch(f"/Users/{self._ids[one.entry]}", *operations)
            assert answer.status in (200, 204), answer.text

    def _regroups(self, key: str, operation: Document) -> None:
        answer = self._entra.patch(f"/Groups/{self._groups[key]}", operation)
        assert answer.status in (200, 204), answer.text


def _as_entra_says(one: Human) -> Mapping[str, str]:
    return {
        "userName": one.user_name, "displayName": one.display, "name.givenName": one.given, "name.familyName": one.family,
        'emails[type eq "work"].value': one.mail, "title": one.title, "userType": one.kind,
        f"{ENTERPRISE_URN}:employeeNumber": one.number, f"{ENTERPRISE_URN}:department": one.department,
    }  # fmt: skip
