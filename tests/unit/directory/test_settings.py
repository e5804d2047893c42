"""Settings of an organisation: what cannot be read of what is stored counts as the default."""

import pytest

from app.directory.settings import DEFAULTS, UnusableSetting, approvals, check, setting

UNREADABLE = ","


@pytest.mark.parametrize("key", sorted(DEFAULTS))
def test_no_setting_takes_what_cannot_be_read(key: str) -> None:
    check(key, DEFAULTS[key])
    with pytest.raises(UnusableSetting, match=key):
        check(key, UNREADABLE)


@pytest.mark.parametrize("key", sorted(DEFAULTS.keys() - {"approvals"}))
def test_what_is_stored_and_cannot_be_read_counts_as_the_default(key: str) -> None:
    assert setting({key: UNREADABLE}, key) == DEFAULTS[key]


def test_what_is_stored_counts_where_it_can_be_read() -> None:
    assert setting({"matching": "email", "gone_after": UNREADABLE}, "matching") == "email"


def test_how_many_have_to_approve_is_never_taken_for_fewer() -> None:
    with pytest.raises(UnusableSetting, match="approvals is 1 or 2"):
        approvals(setting({"approvals": "two"}, "approvals"))
