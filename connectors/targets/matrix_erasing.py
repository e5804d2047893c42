"""Matrix (Synapse): erasing what a deactivated account has left behind. None of it can be undone.

Synapse deletes its profile and hides its messages from whoever joins a room later; who was there before still sees them. Its files are
deleted for everybody. The id stays taken, with the person's id on it, so that it is given to nobody else.
"""

from __future__ import annotations

from connectors.contract import AccountId, Conflict, Refused
from connectors.http import path
from connectors.targets.matrix_homeserver import ADMIN
from connectors.targets.matrix_rooms import MatrixRooms

FILES_AT_ONCE = 100
MOST_TURNS = 50
"""So many calls at a time: who left more files behind than these take is gone on with at the next try."""


class MatrixErasing(MatrixRooms):
    def erase_account(self, id: AccountId) -> None:
        self._server.spare_ourselves(id)
        seen = self._caller.find(path(f"{ADMIN}/v2/users/{{}}", id))
        if seen is None:
            return
        if not seen.flag("deactivated"):
            # Synapse would deactivate it: somebody who came back would be shut out by their own erasure.
            raise Conflict(f"{self._server.name}: {id} is not deactivated, and nothing of it is erased")
        if not seen.flag("erased"):
            self._caller.post(path(f"{ADMIN}/v1/deactivate/{{}}", id), {"erase": True})
        for _ in range(MOST_TURNS):
            if self._files(id) == 0:
                return
            deleted = self._caller.delete(path(f"{ADMIN}/v1/users/{{}}/media?limit={FILES_AT_ONCE}", id)).document
            if deleted.number("total") == 0:
                raise Refused(f"{self._server.name}: files of {id} are left that Synapse does not delete")

    def is_erased(self, id: AccountId) -> bool:
        seen = self._caller.find(path(f"{ADMIN}/v2/users/{{}}", id))
        return seen is None or (seen.flag("erased") and self._files(id) == 0)

    def _files(self, id: AccountId) -> int:
        found = self._caller.find(path(f"{ADMIN}/v1/users/{{}}/media", id), query={"limit": "1"})
        return 0 if found is None else found.number("total")
