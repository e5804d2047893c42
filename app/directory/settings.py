"""Settings of an organisation, kept with it and changed by `doorlist settings set`."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.directory.tables import Source, Standing
from app.directory.vocabulary import ENTERPRISE, ENTERPRISE_URN, USER, USER_URN, spelled
from app.journal.tables import Organization
from app.statements import param

DEFAULTS: Mapping[str, str] = {
    "alarm_escalation": "15m",
    "approvals": "1",
    "attribute_precedence": "{}",
    "contractor_longest": "366d",
    "contractor_types": "Contractor",
    "erase_after": "off",
    "handover": "manager",
    "leaving_voice": "auto",
    "time_zone": "UTC",
    "matching": "employeeNumber",
    "gone_after": "60s",
    "pull_brake": "20%,10,500",
    "push_brake": "50/60s",
    "hr_key": "employeeNumber",
    "role_groups": "{}",
    "session_absolute": "12h",
    "session_idle": "1h",
}


ROLES = frozenset({"owner", "admin", "auditor", "helpdesk"})
"""Those of `app.lifecycle.operators.Role`, which is a floor above."""
# Asked whenever somebody is switched off, so it is built once.
_ANY_HR: Final = select(Source.id).where(Source.organization_id == param("organization"), Source.kind == "hr", Source.ended_at.is_(None)).limit(1)


class UnusableSetting(ValueError):
    """The message names the key and what it takes."""


@dataclass(frozen=True, kw_only=True)
class PushBrake:
    """At most `most` deactivations of one source take effect within `within`."""

    most: int
    within: timedelta


@dataclass(frozen=True, kw_only=True)
class PullBrake:
    """Of what a source has, its pulls take at most `share` and never more than `count`; up to `from_count` a share means nothing."""

    share: float
    from_count: int
    count: int


def parse_push_brake(text: str) -> PushBrake | None:
    """`off`, or how many in how long: `50/60s`. Raises UnusableSetting."""
    if text == "off":
        return None
    most, slash, within = text.partition("/")
    try:
        if not slash or not within.endswith("s"):
            raise ValueError
        brake = PushBrake(most=int(most), within=timedelta(seconds=int(within[:-1])))
    except (ValueError, OverflowError) as error:
        raise UnusableSetting(f"push_brake is off, or a count and seconds such as 50/60s, not {text!r}") from error
    # Nobody means longer, and there are no instants before the year 1 to count from.
    if brake.most < 0 or not timedelta() < brake.within <= timedelta(days=36_525):
        raise UnusableSetting("push_brake needs a count of at least 0, and a time above 0 seconds and of at most 100 years")
    return brake


MATCHING_KEYS = ("employeeNumber", "email", "userName")


def matching_keys(text: str) -> tuple[str, ...]:
    """By what records of several sources are joined to one person, in this order; none for `none`. Raises UnusableSetting."""
    keys = () if text == "none" else tuple(key.strip() for key in text.split(","))
    if len(set(keys)) < len(keys) or not set(keys) <= set(MATCHING_KEYS):
        raise UnusableSetting(f"matching is none, or some of {', '.join(MATCHING_KEYS)} in the order in which they count, parted by commas; not {text!r}")
    return keys


def attribute_precedence(text: str) -> Mapping[tuple[str, ...], tuple[str, ...]]:
    """Which sources, by name, count first for single attributes, by their place: `{"department": ["workday", "okta"]}`. Raises UnusableSetting."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    fits = isinstance(said, dict) and all(
        name.strip() and isinstance(sources, list) and sources and all(isinstance(one, str) and one.strip() for one in sources)
        for name, sources in said.items()
    )
    if not fits:
        raise UnusableSetting('attribute_precedence is JSON such as {"department": ["workday", "okta"]}: for an attribute, the names of sources')
    return {_place_of(name.strip()): tuple(sources) for name, sources in said.items()}


def _place_of(name: str) -> tuple[str, ...]:
    """Where an attribute of a user stands in a document; one of a declared extension is named with its URN."""
    urn, colon, last = name.rpartition(":")
    if urn.lower() == USER_URN.lower():
        name = last
    elif colon:
        return spelled((urn, last))
    if name.lower() in ENTERPRISE:
        return spelled((ENTERPRISE_URN, name))
    if name.lower() not in USER or name.lower() in ("active", "groups", "password"):
        raise UnusableSetting(f"attribute_precedence: {name!r} is no attribute of a person; one of an extension is named with its URN")
    return spelled((name,))


def parse_pull_brake(text: str) -> PullBrake | None:
    """`off`, or a share, the number up to which a share means nothing, and the most there ever is: `20%,10,500`. Raises UnusableSetting."""
    if text == "off":
        return None
    said = re.fullmatch(r"([0-9]{1,3})%,([0-9]{1,7}),([0-9]{1,7})", text.replace(" ", ""), re.ASCII)
    if said is None or int(said[1]) > 100:
        raise UnusableSetting(f"pull_brake is off, or a share, a number of people and the most there ever is, such as 20%,10,500; not {text!r}")
    return PullBrake(share=int(said[1]) / 100, from_count=int(said[2]), count=int(said[3]))


def gone_after(text: str) -> timedelta:
    """How long after a source first answered that an entry is not there a second such answer counts: `0s`, `60s`, `5m`. Raises UnusableSetting."""
    said = re.fullmatch(r"([0-9]{1,5})([smh])", text, re.ASCII)
    if said is None:
        raise UnusableSetting(f"gone_after is a time such as 0s, 60s or 5m, not {text!r}")
    return timedelta(**{{"s": "seconds", "m": "minutes", "h": "hours"}[said[2]]: int(said[1])})


def approvals(text: str) -> int:
    """How many administrators it takes to let through what is held: `1` or `2`. Raises UnusableSetting."""
    if text not in ("1", "2"):
        raise UnusableSetting(f"approvals is 1 or 2, not {text!r}")
    return int(text)


def contractor_longest(text: str) -> timedelta:
    """For how long ahead somebody who is no employee may be vouched for, such as `90d`. Raises UnusableSetting."""
    said = re.fullmatch(r"([0-9]{1,4})d", text, re.ASCII)
    if said is None or not 1 <= int(said[1]) <= 3660:
        raise UnusableSetting(f"contractor_longest is a number of days from 1d to 3660d, not {text!r}")
    return timedelta(days=int(said[1]))


def contractor_types(text: str) -> frozenset[str]:
    """Which values of `userType` say that somebody is no employee; none for `none`. Raises UnusableSetting."""
    kinds = frozenset(kind.strip() for kind in text.split(",")) if text != "none" else frozenset()
    if "" in kinds:
        raise UnusableSetting(f"contractor_types is none, or values of userType parted by commas such as Contractor,Intern; not {text!r}")
    return kinds


def erase_after(text: str) -> timedelta | None:
    """`off`, or how long after a departure what somebody wrote is erased in the workspaces, such as `90d`. Raises UnusableSetting."""
    if text == "off":
        return None
    said = re.fullmatch(r"([0-9]{1,5})d", text, re.ASCII)
    if said is None or not 1 <= int(said[1]) <= 36_600:
        raise UnusableSetting(f"erase_after is off, or a number of days from 1d to 36600d, not {text!r}")
    return timedelta(days=int(said[1]))


MANAGER = "manager"


def handover_order(text: str) -> tuple[str, ...]:
    """Who takes over a leaver's channels: the first of these who has access, `manager` or a userName; nobody for `none`. Raises UnusableSetting."""
    order = () if text == "none" else tuple(one.strip() for one in text.split(","))
    if "" in order or "none" in order or len(set(order)) < len(order):
        raise UnusableSetting(f"handover is none, or manager and userNames in the order in which they are asked, parted by commas; not {text!r}")
    return order


def alarm_escalation(text: str) -> timedelta | None:
    """`off`, or after how long an alarm that nobody acknowledged is escalated: `90s`, `15m`, `2h`. Raises UnusableSetting."""
    if text == "off":
        return None
    unit = {"s": "seconds", "m": "minutes", "h": "hours"}.get(text[-1:])
    # Digits of other scripts are digits to Python as well, and nobody means them here.
    if unit is None or not text[:-1].isascii() or not text[:-1].isdigit() or not 0 < int(text[:-1]) <= 100_000:
        raise UnusableSetting(f"alarm_escalation is off, or a time such as 90s, 15m or 2h, not {text!r}")
    return timedelta(**{unit: int(text[:-1])})


def session_length(key: str, text: str) -> timedelta:
    """How long a session may last, such as `30m` or `12h`: a minute at least and a week at most. Raises UnusableSetting."""
    unit = {"m": "minutes", "h": "hours"}.get(text[-1:])
    digits = text[:-1]
    length = timedelta(**{unit: int(digits)}) if unit and digits.isascii() and digits.isdigit() and len(digits) < 6 else timedelta()
    if not timedelta(minutes=1) <= length <= timedelta(days=7):
        raise UnusableSetting(f"{key} is a time from 1m to 168h, such as 30m or 12h, not {text!r}")
    return length


def role_groups(text: str) -> Mapping[str, frozenset[str]]:
    """Which groups, by name or id, give which role here: `{"admin": ["IT"]}`. Raises UnusableSetting."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    fits = isinstance(said, dict) and all(
        isinstance(groups, list) and all(isinstance(one, str) and one.strip() for one in groups) for groups in said.values()
    )
    if not fits or not set(said) <= ROLES:
        raise UnusableSetting(f'role_groups is JSON such as {{"admin": ["IT"]}}; roles are {", ".join(sorted(ROLES))}')
    return {role: frozenset(groups) for role, groups in said.items()}


def leaving_voice(text: str) -> str:
    """Whose *off* means *departed*: `hr`, `directory` or `auto`. Raises UnusableSetting."""
    if text not in ("auto", "hr", "directory"):
        raise UnusableSetting("leaving_voice is auto, hr or directory")
    return text


def hr_key(text: str) -> str:
    """What an HR call's key is matched to: `employeeNumber` or `none`. Raises UnusableSetting."""
    if text not in ("employeeNumber", "none"):
        raise UnusableSetting("hr_key is employeeNumber or none")
    return text


def time_zone(text: str) -> ZoneInfo:
    """Where the last day of work ends, for HR calls that name no zone, such as `Europe/Berlin`. Raises UnusableSetting."""
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnusableSetting(f"time_zone is a name such as Europe/Berlin, not {text!r}") from error


_READ_BY: Final[Mapping[str, Callable[[str], object]]] = {
    "alarm_escalation": alarm_escalation,
    "approvals": approvals,
    "attribute_precedence": attribute_precedence,
    "contractor_longest": contractor_longest,
    "contractor_types": contractor_types,
    "erase_after": erase_after,
    "gone_after": gone_after,
    "handover": handover_order,
    "hr_key": hr_key,
    "leaving_voice": leaving_voice,
    "matching": matching_keys,
    "pull_brake": parse_pull_brake,
    "push_brake": parse_push_brake,
    "role_groups": role_groups,
    "session_absolute": partial(session_length, "session_absolute"),
    "session_idle": partial(session_length, "session_idle"),
    "time_zone": time_zone,
}


def check(key: str, value: str) -> None:
    """Refuse what cannot be used, before it is stored. Raises UnusableSetting."""
    if key not in DEFAULTS:
        raise UnusableSetting(f"there is no setting {key!r}; there are {', '.join(sorted(DEFAULTS))}")
    _READ_BY[key](value)


def lets_more_through(key: str, before: str, after: str) -> bool:
    """Whether a change lets happen at once, or by fewer, what was held before it. Of what cannot be read any is more."""
    if key == "approvals":
        return before != "1" and approvals(after) == 1
    if key == "push_brake":
        was, now_is = parse_push_brake(before), parse_push_brake(after)
        return was is not None and (now_is is None or now_is.most > was.most or now_is.within < was.within)
    if key == "pull_brake":
        had, has = parse_pull_brake(before), parse_pull_brake(after)
        return had is not None and (has is None or has.share > had.share or has.from_count > had.from_count or has.count > had.count)
    return False


def value_of(session: Session, organization_id: str, key: str) -> str:
    """The value that is in force: the organisation's own, else the default."""
    return setting(_stored(session, organization_id), key)


def setting(settings: Mapping[str, Any], key: str) -> str:
    """The value that is in force, given the organisation's own: the default as well where theirs cannot be read.

    Settings are checked before they are stored, but not by whoever writes into the database, and not by another version of this.
    Only `approvals` is then left to whoever reads it, and fails: by the default, one would let through what may take two.
    """
    stored = _said(settings, key)
    return DEFAULTS[key] if key != "approvals" and _why_unusable(key, stored) is not None else stored


def unusable_settings(session: Session, organization_id: str) -> Mapping[str, str]:
    """Of an organisation's settings those that cannot be read, and why."""
    stored = _stored(session, organization_id)
    whys = ((key, _why_unusable(key, _said(stored, key))) for key in sorted(DEFAULTS))
    return {key: why for key, why in whys if why is not None}


def _stored(session: Session, organization_id: str) -> Mapping[str, Any]:
    organization = session.get_one(Organization, organization_id)
    # A session forgets what nobody refers to, and many settings are asked for one after the other.
    session.info["organization"] = organization
    return organization.settings


def _said(settings: Mapping[str, Any], key: str) -> str:
    return str(settings.get(key, DEFAULTS[key]))


def _why_unusable(key: str, value: str) -> str | None:
    try:
        check(key, value)
    except UnusableSetting as error:
        return str(error)
    return None


def off_means(session: Session, organization_id: str) -> Standing:
    """What a directory's *off* means now: *departed*, unless leaving is HR's to say."""
    has_hr = session.scalar(_ANY_HR, {"organization": organization_id}) is not None
    return means_of_off(value_of(session, organization_id, "leaving_voice"), has_hr=has_hr)


def means_of_off(leaving_voice: str, *, has_hr: bool) -> Standing:
    """What *off* means under this setting, given whether an HR system speaks at all."""
    of_hr = has_hr if leaving_voice == "auto" else leaving_voice == "hr"
    return Standing.PAUSED if of_hr else Standing.DEPARTED
