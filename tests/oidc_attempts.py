"""What a token or an answer of the stand-in provider gets: taken, or why not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from app.sso.refusals import Reason, Refused
from tests.oidc_arrangement import Arrangement
from tests.oidc_stand_in import CLIENT_ID, signed, spoken


def claims_for(arrangement: Arrangement, url: str, **changed: Any) -> dict[str, Any]:
    """What a good ID token for this question would say, but for what is changed."""
    nonce = parse_qs(urlsplit(url).query)["nonce"][0]
    usual = {
        "iss": arrangement.provider.issuer, "sub": "im-ada", "aud": CLIENT_ID, "iat": timedelta(0), "exp": timedelta(minutes=5), "nonce": nonce,
    }  # fmt: skip
    return spoken({**usual, **changed})


def shown(arrangement: Arrangement, url: str, token: str) -> Refused | None:
    """Why an ID token was refused that came for the code; None where it was taken."""
    arrangement.provider.raw = token
    arrangement.provider.more = {"access_token": None}
    try:
        arrangement.comes_back(arrangement.provider.answers(url))
    except Refused as error:
        return error
    finally:
        arrangement.provider.raw = None
    return None


def reason_for(arrangement: Arrangement, **claims: Any) -> Reason | None:
    """Why an ID token with these claims is refused; None where it is taken."""
    url = arrangement.begins()
    refused = shown(arrangement, url, signed(claims_for(arrangement, url, **claims), arrangement.provider.signing))
    return None if refused is None else refused.reason


def header_reason(arrangement: Arrangement, **header: Any) -> Reason | None:
    url = arrangement.begins()
    refused = shown(arrangement, url, signed(claims_for(arrangement, url), arrangement.provider.signing, **header))
    return None if refused is None else refused.reason


def reason_of_answer(arrangement: Arrangement, answer: dict[str, str], **how: Any) -> Reason | None:
    try:
        arrangement.comes_back(answer, **how)
    except Refused as error:
        return error.reason
    return None
