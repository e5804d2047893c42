"""`doorlist hr test`: every shipped description tried on every sample, with the secret and the clock of the sample."""

from __future__ import annotations

import pytest

from app.intake import descriptions
from tests.hr_door import MARA
from tests.hr_vendor import SAMPLES, description_file
from tests.unit.commands.conftest import Desk

THEN = "2026-11-25T09:46:40.000Z"
BOB, GUSTO, RIPPLING = MARA["hibob"], MARA["gusto"], MARA["rippling"]
UNSIGNED = "ask Rippling about 656992816f26d6caea00072c first, for nobody signed this; only if its record says so: end their access at once"
Wanted = tuple[str, str | None, str | None, str]
SAYS: dict[str, Wanted] = {
    "standard_webhooks_employee_terminated": ("revoke now", "E-20417", THEN, "end their access at once"),
    "standard_webhooks_rotation_two_signatures": ("revoke now", "E-20417", THEN, "end their access at once"),
    "bamboohr_employee_deleted_event": ("leaves at", "20417", THEN, "end their access at once; who it is, BambooHR is asked unless that is known"),
    "bamboohr_employee_updated_event": ("changed", "20417", None, "ask BambooHR about 20417 first, and do what its record says"),
    "gusto_rehired": ("rehired", GUSTO, None, f"ask Gusto about {GUSTO} first, and do what its record says"),
    "gusto_terminated": ("leaves at", GUSTO, None, f"ask Gusto about {GUSTO} first, and do what its record says"),
    "gusto_termination_cancelled": ("cancelled", GUSTO, THEN, "call off their leaving; who it is, Gusto is asked unless that is known"),
    "gusto_termination_effective": ("leaves at", GUSTO, THEN, "end their access at once; who it is, Gusto is asked unless that is known"),
    "gusto_verification_handshake": ("handshake", None, None, "show Gusto its token by its API, and take it as the secret once it is accepted there"),
    "hibob_access_revoked_immediately": ("revoke now", BOB, THEN, "end their access at once; who it is, HiBob is asked unless that is known"),
    "hibob_employee_left": ("leaves at", BOB, THEN, "end their access at once; who it is, HiBob is asked unless that is known"),
    "hibob_ping_test": ("ping", None, None, "nothing: it only tries the connection"),
    "hibob_table_entry_created_lifecycle": (
        "changed", BOB, "2026-12-31T00:00:00.000Z", f"ask HiBob about {BOB} first, and do what its record says, nothing before 2026-12-31T00:00:00.000Z"
    ),
    "rippling_employee_deleted": ("revoke now", RIPPLING, THEN, UNSIGNED),
    "rippling_employee_terminated": ("leaves at", RIPPLING, THEN, UNSIGNED),
    "workday_raas_terminations": ("leaves at", "20417", "2026-11-25T00:00:00.000Z", "end their access at once"),
    "deel_contract_terminated": ("leaves at", "D-77", "2026-11-30T23:00:00.000Z", "end their access at 2026-11-30T23:00:00.000Z"),
    "deel_contract_terminated_simulation": ("test", None, None, "nothing: it only tries the connection"),
}  # fmt: skip
FIELDS = ("event", "person", "at", "would_do")


def test_no_sample_is_without_an_expectation() -> None:
    assert {path.stem for path in SAMPLES.glob("*.json")} == SAYS.keys()


def test_each_sample_says_by_its_vendors_description_what_would_be_done(desk: Desk) -> None:
    for name, wanted in SAYS.items():
        said = desk.types("hr", "test", description_file(name), str(SAMPLES / f"{name}.json"), "--json")

        assert (said.exit, said.err) == (0, "")
        assert tuple(said.json[field] for field in FIELDS) == wanted, name


@pytest.mark.parametrize("vendor", descriptions.shipped())
def test_by_another_vendors_description_no_signed_sample_would_do_anything(desk: Desk, vendor: str) -> None:
    """One object is printed whatever is tried, and it says why nothing would be done."""
    for name in SAYS:
        if description_file(name) == vendor:
            continue
        said = desk.types("hr", "test", vendor, str(SAMPLES / f"{name}.json"), "--json")

        assert set(FIELDS) <= said.json.keys(), name
        if name != "gusto_verification_handshake":
            assert (said.exit, said.json["event"]) == (1, None), (vendor, name)
            assert str(said.json["would_do"]).startswith("nothing: "), (vendor, name)


def test_a_day_that_names_no_zone_ends_where_the_organisation_is(desk: Desk) -> None:
    workday = str(SAMPLES / "workday_raas_terminations.json")

    said = desk.asks("hr", "test", "workday", workday, "--time-zone", "America/Denver")

    assert (said["at"], said["records"]) == ("2026-11-25T07:00:00.000Z", 1)
