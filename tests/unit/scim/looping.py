"""Requests that come to an event loop at once, for the tests of what is answered there."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from app.scim.hot import Early
from tests.clients.directory import Directory


def at_once(*requests: Coroutine[Any, Any, Early | None]) -> list[Early | None]:
    async def all_of_them() -> list[Early | None]:
        # Whoever waits for what is held here would wait for ever.
        async with asyncio.timeout(30):
            return list(await asyncio.gather(*requests))

    return asyncio.run(all_of_them())


def status(answered: Early | None) -> int | None:
    return None if answered is None else answered[0]


def joining(name: str) -> dict[str, Any]:
    return {"userName": name, "externalId": f"x-{name}"}


def names(directory: Directory) -> set[str]:
    listed = directory.send("GET", "/Users?count=100").document["Resources"]
    return {one["userName"] for one in listed}
