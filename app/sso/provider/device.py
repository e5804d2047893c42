"""/device: somebody who is signed in types the code that a device shows, sees which application asks, and says yes or no (RFC 8628 §3.3)."""

from typing import Final
from urllib.parse import urlencode

from flask import Response, current_app, request
from sqlalchemy.orm import Session

from app.access.sessions import Present
from app.clock import now
from app.database import in_transaction
from app.sso import pages
from app.sso.browser import comes_from_here, present, respond_refused
from app.sso.provider import device_requests
from app.sso.provider.limits import provider_limits
from app.sso.provider.server import NOT_KEPT
from app.sso.refusals import Refused

LONGEST_CODE: Final = 40


def device() -> Response:
    """GET and POST /device."""
    here = present()
    code = request.values.get("user_code", "")[:LONGEST_CODE]
    if here is None:
        to = "/device" + (f"?{urlencode({'user_code': code})}" if code else "")
        return Response(status=303, headers={**NOT_KEPT, "Location": f"/sign-in?{urlencode({'to': to})}"})
    if request.method == "GET":
        # A code that came with the link is shown, never used: whoever made the link would be let in by one click (RFC 8628 §5.4).
        return _page("code", code=code)
    if not comes_from_here():
        return pages.render("wrong", status=403)
    # Those who guess slow down nobody but themselves.
    codes = provider_limits(current_app).codes
    if codes.wait(here.person_id):
        return _page("too_often", status=429)
    answer = request.form.get("answer")
    try:
        step = in_transaction(lambda session: _decide(session, here, code, answer))
    except Refused as error:
        return respond_refused(error)
    if step == "unknown":
        codes.take(here.person_id)
        return _page("unknown", code=code, status=404)
    if step.startswith("ask "):
        return _page("ask", code=code, name=step.removeprefix("ask "))
    return _page(step)


def _decide(session: Session, here: Present, code: str, answer: str | None) -> str:
    at = now()
    found = device_requests.waiting(session, code, organization_id=here.organization_id, at=at)
    if found is None:
        return "unknown"
    row, party = found
    if answer == "yes" and here.break_glass:
        # What break-glass lets in ends with it, and a device goes on by itself.
        return "by_break_glass"
    if answer == "yes":
        return "allowed" if device_requests.allow(session, row, party, here, at=at) else "unknown"
    if answer == "no":
        device_requests.refuse(session, row)
        return "refused"
    return f"ask {party.name}"


def _page(step: str, *, code: str = "", name: str = "", status: int = 200) -> Response:
    return pages.render("device", status=status, step=step, code=code, name=name)
