"""P10, P16, P17: names that look alike, names that are free again, names that are somebody else's."""

from urllib.parse import quote

from tests.clients.directory import Directory
from tests.unit.scim.choosing import departures_of, get, group_with, is_taken, off, person_of, post

# What a reader, or one database but not the other, would take for one name.
ALIKE = (
    ("ada", "ADA"), ("ada", "ａｄａ"), ("ada", " ada "), ("ada", "ada\u3000"), ("é", "e\u0301"), ("straße", "STRASSE"), ("ﬁn", "FIN"), ("kelvin", "\u212aelvin"),
    ("sue", "ſue"), ("i\u0307x", "İx"), ("σς", "ΣΣ"), ("Ǆ", "ǆ"), ("ⅷ", "VIII"), ("Å", "\u212b"), ("ŉ", "ʼn"), ("ΐ", "\u03b9\u0308\u0301"), ("한", "\u1112\u1161\u11ab"),
)  # fmt: skip
# What looks alike to a reader, but is two names in every standard; the difference is shown, and neither gets the other's.
APART = (
    ("ada", "аda"),
    ("ida", "ıda"),
    ("ada", "a\u200bda"),
    ("ada", "ada\u202e"),
    ("ada", "ada\u00ad"),
    ("l1", "ll"),
    ("ada", "ada\ufe0f"),
    ("a b", "a  b"),
)


def test_p10_two_spellings_of_one_name_are_one_user(directory: Directory) -> None:
    bystander = directory.add_user("bystander")

    for one, other in ALIKE:
        first = directory.add_user(one)
        group = directory.send("POST", "/Groups", {"displayName": one}).document["id"]

        assert is_taken(post(directory, other, "3")), (one, other)
        assert is_taken(directory.send("PUT", f"/Users/{bystander}", {"userName": other})), (one, other)
        assert is_taken(directory.patch(f"/Users/{bystander}", {"op": "replace", "path": "userName", "value": other})), (one, other)
        assert is_taken(directory.send("POST", "/Groups", {"displayName": other})), (one, other)
        found = directory.send("GET", "/Users?filter=" + quote(f'userName eq "{other}"', safe="")).document["Resources"]
        assert [resource["id"] for resource in found] == [first], (one, other)
        for path in (f"/Users/{first}", f"/Groups/{group}"):
            directory.send("DELETE", path)


def test_p10_names_that_only_look_alike_are_two_and_neither_finds_the_other(directory: Directory) -> None:
    for number, (one, other) in enumerate(APART):
        ids = [directory.add_user(f"{number}{name}") for name in (one, other)]

        for name, record_id in zip((one, other), ids, strict=True):
            found = directory.send("GET", "/Users?filter=" + quote(f'userName eq "{number}{name}"', safe="")).document["Resources"]
            assert [resource["id"] for resource in found] == [record_id], (one, other)


def test_p10_a_name_that_no_text_can_be_is_refused(directory: Directory) -> None:
    for name in ("ada\0", "\0", "", " ", "\t\n", "\u3000", "\u2028"):
        answer = directory.send("POST", "/Users", {"userName": name})

        assert (answer.status, answer.document["scimType"]) == (400, "invalidValue"), repr(name)
        assert "userName" in answer.document["detail"]


def test_p16_who_gets_a_deleted_name_inherits_nothing(directory: Directory) -> None:
    first = directory.add_user("ada", externalId="1", title="Owner", emails=[{"value": "ada@example.org"}])
    group = group_with(directory, first)
    before = person_of(first)
    assert directory.send("DELETE", f"/Users/{first}").status == 204

    second = post(directory, "ADA", "1", emails=[{"value": "ada@example.org"}]).document

    assert second["id"] != first
    assert (second["groups"], "title" in second) == ([], False)
    assert get(directory, f"/Groups/{group}")["members"] == []
    assert person_of(second["id"]).id != before.id
    assert departures_of(before)
    assert departures_of(person_of(second["id"])) == []
    assert directory.send("GET", f"/Users/{first}").status == 404
    assert directory.send("PUT", f"/Users/{first}", {"userName": "back"}).status == 404
    assert directory.patch(f"/Users/{first}", {"op": "replace", "path": "active", "value": True}).status == 404
    assert directory.send("DELETE", f"/Users/{first}").status == 404


def test_p17_nobody_takes_over_another_by_taking_the_name(directory: Directory) -> None:
    owner = directory.add_user("owner", externalId="1", emails=[{"value": "owner@example.org", "primary": True}])
    eve = directory.add_user("eve", externalId="2")
    before = get(directory, f"/Users/{owner}")

    assert is_taken(directory.patch(f"/Users/{eve}", {"op": "replace", "path": "userName", "value": "OWNER"}))
    assert is_taken(directory.patch(f"/Users/{eve}", {"op": "replace", "path": "externalId", "value": "1"}))
    assert is_taken(directory.send("PUT", f"/Users/{eve}", {"userName": "eve", "externalId": "1"}))
    mailed = directory.patch(
        f"/Users/{eve}", {"op": "replace", "path": "emails", "value": [{"value": "OWNER@example.org", "primary": True}]}
    )

    # An address joins nobody to anybody: it is what the directory says of Eve, and no more.
    assert mailed.status == 200
    assert person_of(eve).id != person_of(owner).id
    assert get(directory, f"/Users/{owner}") == before


def test_p17_a_leavers_name_gives_the_one_who_takes_it_nothing_of_theirs(directory: Directory) -> None:
    leaver = directory.add_user("leaver", externalId="1", title="Owner")
    group = group_with(directory, leaver)
    off(directory, leaver)
    eve = directory.add_user("eve", externalId="2")

    assert is_taken(directory.patch(f"/Users/{eve}", {"op": "replace", "path": "userName", "value": "leaver"}))
    directory.send("DELETE", f"/Users/{leaver}")
    renamed = directory.patch(f"/Users/{eve}", {"op": "replace", "path": "userName", "value": "leaver"})

    assert (renamed.status, renamed.document["id"], renamed.document["groups"]) == (200, eve, [])
    assert get(directory, f"/Groups/{group}")["members"] == []
    assert person_of(leaver).id != person_of(eve).id
    assert person_of(leaver).standing == "departed"
