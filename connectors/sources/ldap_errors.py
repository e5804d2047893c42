"""What an LDAP server's result codes (RFC 4511 §4.1.9, appendix A) mean for us."""

from __future__ import annotations

from connectors.contract import ConnectorError, Misconfigured, Unauthorised, Unreachable
from connectors.source_contract import CursorLost, Incomplete, NothingThere

REFERRAL = 10
INSUFFICIENT_RIGHTS = 50
NOT_SO = {5, 6, 16, 17, 18, 21, 32}
"""What may be said of a comparison: false, true, no such attribute, none of that name in any schema, none that can be compared, or not with that, and no
such entry."""
NO_SUCH_OBJECT = 32
INVALID_NAME = 34
ADMINISTRATIVE_LIMIT = 11
REFRESH_REQUIRED = 4096  # RFC 4533 §2.6

_INCOMPLETE = {3, 4, 11, 53}
"""Time, size and administrative limits, and "unwilling", which is what Active Directory says to a page cookie it has lost."""
_NOT_NOW = {1, 51, 52, 80}
_CREDENTIAL = {48, 49, 50}

# https://learn.microsoft.com/troubleshoot/windows-server/active-directory/ (the `data` in error 49)
AD_REASONS = {
    "52e": "wrong name or password",
    "530": "not at this time",
    "531": "not from this machine",
    "532": "the password has expired",
    "533": "the account is disabled",
    "701": "the account has expired",
    "773": "the password must be changed first",
    "775": "the account is locked",
}


def meaning_of(code: int, message: str, *, binding: bool = False) -> ConnectorError:
    """No such object, a referral or a wrong filter are settings that cannot be right: never an empty list."""
    if code == REFRESH_REQUIRED:
        return CursorLost(message)
    if code in _CREDENTIAL:
        return Unauthorised(message)
    if code in _NOT_NOW:
        return Unreachable(message, sent=True)
    if code in _INCOMPLETE and not binding:
        return Incomplete(message)
    if code == NO_SUCH_OBJECT and not binding:
        return NothingThere(f"{message}: it is not there, or is not shown to the bind account")
    return Misconfigured(message)
