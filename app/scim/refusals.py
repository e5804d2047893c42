"""What goes wrong, as SCIM's errors: each class of error once, and nobody's insides in the answer."""

import logging
from collections.abc import Iterable

from flask import Blueprint, Response, current_app, request
from sqlalchemy.exc import InterfaceError, OperationalError
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge

from app.database import is_away, new_id
from app.lifecycle.errors import LifecycleError, NotFound, StaleVersion, Taken, UnknownMembers
from app.scim.answers import Problem, SCIMError, error_answer

_log = logging.getLogger(__name__)


def wrong_address(error: HTTPException) -> Response:
    """No route was found: an unknown path, or a method that it does not take."""
    possible = error.valid_methods if isinstance(error, MethodNotAllowed) else _possible_with_slash()
    if possible or isinstance(error, MethodNotAllowed):
        response = error_answer(405, f"{request.method} is not possible here")
        response.headers["Allow"] = ", ".join(sorted(possible or ()))
        return response
    twice = "; it has two slashes in a row, so give the base URL without a slash at its end" if "//" in request.path else ""
    return error_answer(error.code or 404, f"nothing is at {request.path[:200]}{twice}")


def _possible_with_slash() -> Iterable[str]:
    # Without the slash at its end, Werkzeug knows the base URL by its own methods alone, and nothing is there for others.
    addresses = current_app.create_url_adapter(request)
    return () if addresses is None else addresses.allowed_methods(f"{request.path}/")


def answer_refusals(routes: Blueprint) -> None:
    """Register the handlers of everything that a request can end in."""
    routes.register_error_handler(SCIMError, _scim_error)
    routes.register_error_handler(LifecycleError, _lifecycle_error)
    routes.register_error_handler(HTTPException, _http_error)
    routes.register_error_handler(OperationalError, _database_away)
    routes.register_error_handler(InterfaceError, _database_away)
    routes.register_error_handler(Exception, _unforeseen)


def _scim_error(error: SCIMError) -> Response:
    return error_answer(error.status, error.detail, problem=error.problem)


def _lifecycle_error(error: LifecycleError) -> Response:
    match error:
        case NotFound():
            return error_answer(404, str(error))
        case Taken():
            return error_answer(409, str(error), problem=Problem.UNIQUENESS)
        case UnknownMembers():
            return error_answer(400, f"members: {error}", problem=Problem.INVALID_VALUE)
        case StaleVersion():
            return error_answer(412, str(error))
        case _:
            return error_answer(409, str(error))


def _http_error(error: HTTPException) -> Response:
    if isinstance(error, RequestEntityTooLarge):
        limit = current_app.config["MAX_CONTENT_LENGTH"]
        return error_answer(413, f"the body is larger than {limit} bytes")
    return error_answer(error.code or 500, error.description or error.name)


def _database_away(error: Exception) -> Response:
    _log.error("the database failed a SCIM request", exc_info=error)
    # Not that nothing was written: where the connection broke during the commit, nobody here knows.
    response = error_answer(503, "the database does not answer; send it again")
    response.headers["Retry-After"] = "5"
    return response


def _unforeseen(error: Exception) -> Response:
    if is_away(error):
        return _database_away(error)
    reference = new_id()
    _log.error("a SCIM request failed", exc_info=error, extra={"reference": reference})
    return error_answer(500, f"something went wrong here; nothing was written (reference {reference})")
