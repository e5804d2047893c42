"""The door for break-glass accounts: coming in without the identity provider, and setting a second factor up for it."""

import json
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import segno
from flask import Blueprint, Response, abort, request
from markupsafe import Markup

from app.access import factors
from app.access.callers import address_of_caller
from app.access.sealing import KeyMissing, seal, unseal
from app.access.tokens import digest_of
from app.clock import now
from app.database import reading
from app.sso import break_glass, pages
from app.sso.break_glass import CHALLENGE_GOOD_FOR, Arrival
from app.sso.browser import browser_secret, comes_from_here, present, respond_entered_by_form, respond_refused, settings_here
from app.sso.logins import local_path
from app.sso.pace import too_fast
from app.sso.refusals import Reason, Refused, log

break_glass_pages: Final = Blueprint("break_glass", __name__, url_prefix="/break-glass")
# Security keys are reached by script alone; it is ours, and the page works without it for everything else.
WITH_SCRIPT: Final = f"{pages.POLICY}; script-src 'self'"
SCRIPT: Final = "security_key.js"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a page of ours hands back to us, sealed: only this browser's, and only for some minutes."""

    challenge: bytes
    secret: str = field(repr=False)

    def sealed(self, at: datetime) -> str:
        kept = {
            "challenge": b64encode(self.challenge).decode(), "secret": self.secret, "browser": digest_of(browser_secret()),
            "until": (at + CHALLENGE_GOOD_FOR).timestamp(),
        }  # fmt: skip
        return seal(settings_here(), json.dumps(kept)).decode()


def _kept(at: datetime) -> Kept | None:
    """What the form brings back; None where it was not sealed here, is another browser's, or is too old."""
    said = request.form.get("kept", "")
    try:
        kept = json.loads(unseal(settings_here(), said.encode()))
    except (KeyMissing, UnicodeEncodeError):
        return None
    # Other doors hand out what is sealed with the same key, such as where a directory's list goes on.
    if not isinstance(kept, dict) or kept["browser"] != digest_of(browser_secret()) or kept["until"] <= at.timestamp():
        return None
    return Kept(challenge=b64decode(kept["challenge"]), secret=kept["secret"])


def _new(at: datetime) -> tuple[Kept, str]:
    kept = Kept(challenge=secrets.token_bytes(32), secret=factors.new_totp_secret())
    return kept, kept.sealed(at)


@break_glass_pages.before_request
def guard() -> Response | None:
    """No door where nobody has such an account; nobody knocks too fast, and no form comes from elsewhere."""
    with reading() as session:
        stands = break_glass.any_stands(session)
    if not stands:
        abort(404)
    if request.method == "POST" and not comes_from_here():
        return pages.render("wrong", status=403)
    return too_fast()


@break_glass_pages.errorhandler(KeyMissing)
def not_ready(error: KeyMissing) -> Response:
    return respond_refused(Refused(Reason.CLOSED, str(error)))


@break_glass_pages.get("")
def ask() -> Response:
    return _ask(to=local_path(request.args.get("to")))


def _ask(*, to: str, wrong: Refused | None = None) -> Response:
    kept, sealed = _new(now())
    options = factors.key_request(settings_here(), challenge=kept.challenge)
    return _page("break_glass", to=to, kept=sealed, options=options, wrong=wrong)


def _page(name: str, *, wrong: Refused | None, **values: object) -> Response:
    reference = None if wrong is None else wrong.reference
    response = pages.render(name, status=200 if wrong is None else 403, reference=reference, script=SCRIPT, **values)
    response.headers["Content-Security-Policy"] = WITH_SCRIPT
    return response


@break_glass_pages.post("")
def come_in() -> Response:
    at, to = now(), local_path(request.form.get("to"))
    here = present(at)
    arrival = Arrival(agent=request.user_agent.string, address=address_of_caller(), replaces=here, return_to=to)
    credential = request.form.get("credential", "")
    try:
        if credential:
            kept = _kept(at)
            if kept is None:
                return _ask(to=to, wrong=_noted(Refused(Reason.TOO_LATE, "the page was open for too long, or is another browser's")))
            entered = break_glass.enter_by_key(settings_here(), credential, challenge=kept.challenge, arrival=arrival, at=at)
        else:
            code, typed = request.form.get("code", ""), request.form.get("totp", "")
            entered = break_glass.enter_by_code(settings_here(), code, typed, arrival=arrival, at=at)
    except Refused as error:
        entered = error
    return _ask(to=to, wrong=_noted(entered)) if isinstance(entered, Refused) else respond_entered_by_form(entered)


def _noted(error: Refused) -> Refused:
    """Every refusal here reads the same, so that nobody learns which half was right."""
    log.warning("break-glass refused, number %s from %s: %s: %s", error.reference, address_of_caller(), error.reason, error)
    return error


@break_glass_pages.get("/set-up")
def ask_for_code() -> Response:
    return _page("break_glass_code", wrong=None)


@break_glass_pages.post("/set-up")
def set_up() -> Response:
    """First the code alone, then with it what proves the new factor."""
    at, code = now(), request.form.get("code", "")
    with reading() as session:
        person = break_glass.who_sets_up(session, code, at=at)
    if person is None:
        return _page("break_glass_code", wrong=_noted(Refused(Reason.NOT_KNOWN, "no such code to set up with")))
    kept = _kept(at)
    names = {"user_name": person.user_name, "code": code}
    if kept is None and "kept" in request.form:
        # The picture that their app has read is worth nothing any more, and there is another one.
        return _offer(names, at=at, wrong=_noted(Refused(Reason.TOO_LATE, "the page was open for too long, or is another browser's")))
    if kept is None:
        return _offer(names, at=at)
    credential = request.form.get("credential", "")
    if credential:
        done = break_glass.set_up_key(settings_here(), code, credential=credential, challenge=kept.challenge, at=at)
    else:
        done = break_glass.set_up_app(settings_here(), code, secret=kept.secret, typed=request.form.get("totp", ""), at=at)
    if isinstance(done, Refused):
        return _offer(names, at=at, wrong=_noted(done), again=kept)
    return pages.render("break_glass_done", codes=done, address=f"{settings_here().public_url}/break-glass")


def _offer(names: Mapping[str, str], *, at: datetime, wrong: Refused | None = None, again: Kept | None = None) -> Response:
    kept = again or _new(at)[0]
    options = factors.key_creation(settings_here(), user_id=digest_of(names["code"]), name=names["user_name"], challenge=kept.challenge)
    picture = segno.make(factors.totp_uri(kept.secret, name=names["user_name"]), error="m").svg_inline(border=3, light="#ffffff", omitsize=True)
    return _page(
        "break_glass_set_up", wrong=wrong, late=wrong is not None and again is None, kept=kept.sealed(at), options=options,
        picture=Markup(picture), secret=kept.secret, **names,
    )  # fmt: skip
