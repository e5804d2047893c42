"""Requests that were seen: what is taken of each when it has been answered.

This runs on the request's way and only takes references; what they meant is worked out later (`teller`).
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from flask import Blueprint, Flask, Response, current_app, g, request
from flask.blueprints import BlueprintSetupState

from app.audit.requests import Captured, RequestLog
from app.database import new_id
from app.scim.teller import BEGINNING, Teller

log = logging.getLogger(__name__)

REHEARSED: Final = "doorlist.rehearsed"
"""Set in the environment of a request that is only tried out: it was seen once already."""
_KEPT: Final = "doorlist_requests"
_PREFIX: Final = "/scim/v2/"


def see_requests(routes: Blueprint) -> None:
    """Have every request to the door noted, refused ones and wrong addresses too."""
    routes.record_once(_open)
    routes.before_app_request(_begin)
    routes.after_app_request(_note)


def request_log(app: Flask) -> RequestLog | None:
    """The log of an application; None where requests are not kept."""
    kept: RequestLog | None = app.extensions.get(_KEPT)
    return kept


def flush_requests(app: Flask) -> None:
    """Write what waits, before a process ends in order."""
    kept = request_log(app)
    if kept is not None and not kept.flush():
        log.warning("some requests seen could not be written down before the end")


def _open(state: BlueprintSetupState) -> None:
    settings = state.app.config["DOORLIST"]
    if settings.requests_kept_days > 0:
        teller = Teller(keeps_bodies=settings.bodies_kept_days > 0, shown=settings.bodies_show)
        state.app.extensions[_KEPT] = RequestLog(settings.database_url, teller)


def _begin() -> None:
    g.scim_began = time.perf_counter()


def _note(response: Response) -> Response:
    if request.path.startswith(_PREFIX):
        try:
            _capture(response)
        except Exception:
            # Whatever is wrong with noting a request, its answer stands.
            log.exception("a request could not be noted")
    return response


def _capture(response: Response) -> None:
    kept = request_log(current_app)
    if kept is None or REHEARSED in request.environ:
        return
    source_id, _, rest = request.path[len(_PREFIX) :].partition("/")
    if request.routing_exception is None:
        # An endpoint is the same with a slash at its end.
        rest = rest.removesuffix("/")
    status, method = response.status_code, request.method
    alike = status in (401, 429) or request.routing_exception is not None
    took = time.perf_counter() - g.get("scim_began", time.perf_counter())
    kept.put(
        Captured(
            id=new_id(), at=time.time() - took, took=took, source_id=source_id, known=not alike or "scim_client" in g, alike=alike,
            method=method, path=f"/{rest}", query=request.environ.get("QUERY_STRING", ""), status=status,
            # Only what was read is looked at: whoever showed no good token could send anything.
            body=None if alike else getattr(request, "_cached_data", None), answer=_answer(response, method, rest),
        )
    )  # fmt: skip


def note_answered(app: Flask, environ: Mapping[str, Any], body: bytes, status: int, answer: Sequence[bytes], took: float) -> None:
    """Note a request that went well without Flask."""
    kept = request_log(app)
    if kept is None or REHEARSED in environ:
        return
    try:
        source_id, _, rest = environ["PATH_INFO"][len(_PREFIX) :].partition("/")
        looks_up = status == 200 and "/" not in rest
        kept.put(
            Captured(
                id=new_id(), at=time.time() - took, took=took, source_id=source_id, known=True, alike=False, method=environ["REQUEST_METHOD"],
                path=f"/{rest}", query=environ.get("QUERY_STRING", ""), status=status,
                body=body,
                answer=b"".join(answer) if status == 201 else _beginning(answer) if looks_up else None,
            )
        )  # fmt: skip
    except Exception:
        log.exception("a request could not be noted")


def _answer(response: Response, method: str, rest: str) -> bytes | None:
    """As much of the answer as says something: errors and new ids whole, of a list the beginning."""
    if response.status_code == 204 or not response.is_sequence:
        return None
    if response.status_code >= 400 or response.status_code == 201 or rest == "Bulk":
        return response.get_data()
    # A look-up's totalResults says whether the directory found somebody.
    looks_up = (method == "GET" and "/" not in rest.strip("/")) or rest.endswith(".search")
    return _beginning(response.iter_encoded()) if looks_up else None


def _beginning(pieces: Iterable[bytes]) -> bytes:
    """Without making one of them all, which may be much."""
    beginning = b""
    for piece in pieces:
        beginning += piece[:BEGINNING]
        if len(beginning) >= BEGINNING:
            break
    return beginning[:BEGINNING]
