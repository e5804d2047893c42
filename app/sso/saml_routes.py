"""The doors of SAML: our metadata, where providers send their answers, and where they send for people to be signed out."""

from datetime import datetime
from typing import Final

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.utils import redirect
from werkzeug.wrappers import Response as AnyResponse

from app.access.connection_tables import Connection, ConnectionKind
from app.access.sealing import KeyMissing
from app.clock import now
from app.database import reading
from app.sso import browser, entering, logins, saml, saml_logout
from app.sso.connections import find, no_such
from app.sso.pace import too_fast
from app.sso.pages import HEADERS
from app.sso.refusals import Reason, Refused
from app.sso.refused_sign_ins import note_refusal
from app.sso.saml_logout import Came
from app.sso.saml_xml import LARGEST

routes = Blueprint("saml", __name__, url_prefix="/saml/<connection_id>")
_LARGEST_FORM: Final = LARGEST * 3
"""Base64 makes four bytes of three, and escaping up to three of one; nothing longer is read at all."""
SIGNED_OUT: Final = "/sign-out"


def _connection(connection_id: str) -> Connection:
    with reading() as session:
        found = find(session, connection_id, kind=ConnectionKind.SAML)
        if found is None:
            raise no_such(session, connection_id, "no SAML connection has this address, or it has ended")
    return found


@routes.before_request
def slow_down() -> Response | None:
    return too_fast()


@routes.errorhandler(Refused)
def refused(error: Refused) -> Response:
    return browser.respond_refused(error)


@routes.errorhandler(KeyMissing)
def closed(error: KeyMissing) -> Response:
    return browser.respond_refused(Refused(Reason.CLOSED, str(error), connection_id=(request.view_args or {}).get("connection_id")))


@routes.get("/metadata")
def show_metadata(connection_id: str) -> Response:
    """What a provider reads to know us; it is public."""
    content = saml.metadata(browser.settings_here(), _connection(connection_id))
    return Response(content, content_type="application/samlmetadata+xml", headers={"X-Content-Type-Options": "nosniff"})


@routes.post("/acs")
def consume(connection_id: str) -> Response:
    """Take a provider's answer. Somebody comes in, or sees a calm page; nothing else happens."""
    at = now()
    connection = _connection(connection_id)
    form = _form()
    try:
        verified = saml.verify(
            browser.settings_here(), connection, form.get("SAMLResponse", ""), browser=_cookie(), relay_state=form.get("RelayState"), at=at
        )
        entered = entering.enter(browser.settings_here(), verified, agent=request.headers.get("User-Agent", ""), at=at)
    except Refused as error:
        error.connection_id = error.connection_id or connection.id
        return browser.respond_refused(error)
    return browser.respond_entered(entered)


@routes.get("/acs")
def begin_again(connection_id: str) -> AnyResponse:
    """Somebody kept the address, or loaded it again: they begin anew."""
    answer = redirect(f"/sign-in?connection={_connection(connection_id).id}", code=303)
    answer.headers.update(HEADERS)
    return answer


@routes.get("/slo")
def single_logout(connection_id: str) -> AnyResponse:
    """A message of logout in the query: the Redirect binding."""
    return _take(_connection(connection_id), saml_logout.by_query(request.query_string.decode("ascii", "replace")), at=now())


@routes.post("/slo")
def single_logout_by_form(connection_id: str) -> AnyResponse:
    """A message of logout in a form: the POST binding."""
    return _take(_connection(connection_id), saml_logout.by_form(_form()), at=now())


def _take(connection: Connection, came: Came, *, at: datetime) -> AnyResponse:
    settings = browser.settings_here()
    if came.kind == saml_logout.ASKS:
        where = saml_logout.take_request(settings, connection, came, at=at).answer_url
    else:
        try:
            where = saml_logout.take_response(settings, connection, came, browser=_cookie(), at=at)
        except Refused as error:
            # Here the person is signed out already, and that page says so; what the provider made of it is for the log.
            note_refusal(error, at=at)
            where = SIGNED_OUT
    answer = redirect(where or "/", code=303)
    answer.headers.update(HEADERS)
    return answer


def _cookie() -> str | None:
    return request.cookies.get(browser.cookie_name(logins.COOKIE)) or None


def _form() -> dict[str, str]:
    """The fields of a form, each of them there once. Raises Refused."""
    request.max_content_length = _LARGEST_FORM
    request.max_form_memory_size = _LARGEST_FORM
    try:
        fields = request.form
    except RequestEntityTooLarge as error:
        raise Refused(Reason.BAD_MESSAGE, f"the form has more than {_LARGEST_FORM} bytes") from error
    except HTTPException as error:
        raise Refused(Reason.BAD_MESSAGE, "the form cannot be read") from error
    if any(len(fields.getlist(name)) > 1 for name in fields):
        raise Refused(Reason.BAD_MESSAGE, "the form has a field twice")
    return dict(fields.items())
