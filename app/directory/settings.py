"""Settings of an organisation, kept with it and changed by `doorlist settings set`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.directory.tables import Source, Standing
from app.journal.tables import Organization

DEFAULTS: Mapping[str, str] = {
    "leaving_voice": "auto",
    "time_zone": "UTC",
    "matching": "employeeNumber",
    "push_brake": "50/60s",
    "hr_key": "employeeNumber",
}


class UnusableSetting(ValueError):
    """The message names the key and what it takes."""


@dataclass(frozen=True, kw_only=True)
class PushBrake:
    """At most `most` deactivations of one source take effect within `within`."""

    most: int
    within: timedelta


def check(key: str, value: str) -> None:
    """Refuse what cannot be used, before it is stored. Raises UnusableSetting."""
    if key not in DEFAULTS:
        raise UnusableSetting(f"there is no setting {key!r}; there are {', '.join(sorted(DEFAULTS))}")
    if key == "leaving_voice" and value not in ("auto", "hr", "directory"):
        raise UnusableSetting("leaving_voice is auto, hr or directory")
    if key == "time_zone":
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise UnusableSetting(f"time_zone is a name such as Europe/Berlin, not {value!r}") from error
    if key in ("matching", "hr_key") and value not in ("employeeNumber", "none"):
        raise UnusableSetting(f"{key} is employeeNumber or none")
    if key == "push_brake":
        parse_push_brake(value)


def parse_push_brake(text: str) -> PushBrake | None:
    """`off`, or how many in how long: `50/60s`. Raises UnusableSetting."""
    if text == "off":
        return None
    most, slash, within = text.partition("/")
    try:
        if not slash or not within.endswith("s"):
            raise ValueError
        brake = PushBrake(most=int(most), within=timedelta(seconds=int(within[:-1])))
    except ValueError as error:
        raise UnusableSetting(f"push_brake is off, or a count and seconds such as 50/60s, not {text!r}") from error
    if brake.most < 0 or brake.within <= timedelta():
        raise UnusableSetting("push_brake needs a count of at least 0 and a time above 0 seconds")
    return brake


def value_of(session: Session, organization_id: str, key: str) -> str:
    """The value that is in force: the organisation's own, else the default."""
    organization = session.get_one(Organization, organization_id)
    return setting(organization.settings, key)


def setting(settings: Mapping[str, Any], key: str) -> str:
    """The value that is in force, given the organisation's own."""
    return str(settings.get(key, DEFAULTS[key]))


def off_means(session: Session, organization_id: str) -> Standing:
    """What a directory's *off* means now: *departed*, unless leaving is HR's to say."""
    hr = select(Source.id).where(Source.organization_id == organization_id, Source.kind == "hr", Source.ended_at.is_(None)).limit(1)
    return means_of_off(value_of(session, organization_id, "leaving_voice"), has_hr=session.scalar(hr) is not None)


def means_of_off(leaving_voice: str, *, has_hr: bool) -> Standing:
    """What *off* means under this setting, given whether an HR system speaks at all."""
    of_hr = has_hr if leaving_voice == "auto" else leaving_voice == "hr"
    return Standing.PAUSED if of_hr else Standing.DEPARTED
