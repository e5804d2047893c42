"""Schemas that an organisation would declare: what is read from a file, and what is refused with a sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.directory.extensions import MOST_ATTRIBUTES, MOST_SCHEMAS, UnusableSchema, read_schema, refuse_beside
from app.directory.filters import parse
from app.directory.vocabulary import ENTERPRISE_URN, GROUP_URN, USER_URN, Extension, Kind, Vocabulary

URN = "urn:example:params:scim:hr:2.0:User"


def read(*attributes: Any, urn: Any = URN, **more: Any) -> Extension:
    return read_schema(json.dumps({"id": urn, "attributes": list(attributes), **more}), USER_URN)


def refused(*attributes: Any, urn: Any = URN, **more: Any) -> str:
    with pytest.raises(UnusableSchema) as error:
        read(*attributes, urn=urn, **more)
    return str(error.value)


def test_a_schema_is_read_as_discovery_gives_it_out() -> None:
    given = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"], "id": URN, "name": "HR", "description": "What HR adds",
        "meta": {"resourceType": "Schema"},
        "attributes": [
            {
                "name": "badges", "type": "complex", "multiValued": True, "description": "Badges", "required": True, "mutability": "readWrite",
                "returned": "always", "uniqueness": "none",
                "subAttributes": [
                    {
                        "name": "$ref", "type": "reference", "multiValued": False, "description": "Where", "required": False, "caseExact": True,
                        "mutability": "readWrite", "returned": "default", "uniqueness": "none", "referenceTypes": ["User", "external"],
                    },
                    {
                        "name": "type", "type": "string", "multiValued": False, "description": "Kind", "required": False, "caseExact": True,
                        "mutability": "readWrite", "returned": "default", "uniqueness": "none", "canonicalValues": ["door", "gate"],
                    },
                ],
            }
        ],
    }  # fmt: skip

    found = read_schema(json.dumps(given), GROUP_URN)

    assert found.described == {name: given[name] for name in ("id", "name", "description", "attributes")}
    badges = found.attributes["badges"]
    assert (found.urn, found.core, badges.kind, badges.many, badges.required, badges.returned) == (
        URN, GROUP_URN, Kind.COMPLEX, True, True, "always",
    )  # fmt: skip
    assert badges.subs["type"].exact


def test_what_is_left_out_has_the_defaults_of_the_rfc() -> None:
    found = read({"NAME": "site", "multivalued": None}, {"name": "from", "type": "DateTime"}, {"name": "link", "type": "reference"})

    site = found.attributes["site"]
    assert (site.kind, site.many, site.exact, site.required, site.returned) == (Kind.STRING, False, False, False, "default")
    assert found.attributes["from"].kind is Kind.DATETIME
    assert found.described["name"] == "User"
    assert found.described["attributes"][2]["referenceTypes"] == ["external"]


@pytest.mark.parametrize(
    ("attribute", "sentence"),
    [
        ("site", "attribute 1 of urn:example:params:scim:hr:2.0:User must be an object"),
        ({}, "needs a name"),
        ({"name": "2nd"}, "a letter, then letters, digits, $, - or _ (RFC 7643 §2.1), not '2nd'"),
        ({"name": "first name"}, "RFC 7643 §2.1"),
        ({"name": "name\n"}, "RFC 7643 §2.1"),
        ({"name": "$ref"}, "RFC 7643 §2.1"),
        ({"name": "externalId"}, "gives this name to every resource"),
        ({"name": "x" * 65}, "longer than 64"),
        ({"name": "eq"}, "could not be named in a filter"),
        ({"name": "a", "type": "complex", "subAttributes": [{"name": "not"}]}, "a.not could not be named in a filter"),
        ({"name": "a", "type": "text"}, "a: type must be one of string, boolean, decimal, integer"),
        ({"name": "a", "tpye": "string"}, "a: an attribute has no 'tpye'"),
        ({"name": "a", "required": "yes"}, "a: required must be true or false"),
        ({"name": "a", "mutability": "readOnly"}, "a: mutability can only be readWrite, not 'readOnly': nobody but the directory"),
        ({"name": "a", "mutability": "writeOnly"}, "returned never"),
        ({"name": "a", "mutability": "immutable"}, "a: mutability can only be readWrite"),
        ({"name": "a", "mutability": 1}, "a: mutability can only be readWrite, not 1"),
        ({"name": "a", "uniqueness": "server"}, "a: uniqueness can only be none, not 'server'"),
        ({"name": "a", "uniqueness": "global"}, "a: uniqueness can only be none"),
        ({"name": "a", "returned": "often"}, "a: returned must be one of default, always, request, never"),
        ({"name": "a", "canonicalValues": "x"}, "a: canonicalValues must be a list of texts"),
        ({"name": "a", "type": "integer", "canonicalValues": ["1"]}, "a: canonicalValues are texts"),
        ({"name": "a", "subAttributes": [{"name": "b"}]}, "a: only type complex has subAttributes"),
        ({"name": "a", "referenceTypes": ["User"]}, "a: only type reference has referenceTypes"),
        ({"name": "a", "type": "complex"}, "a needs a list of attributes"),
        ({"name": "a", "type": "complex", "subAttributes": [{"name": "b", "type": "complex"}]}, "a.b: type complex cannot be within another"),
        ({"name": "a", "type": "complex", "subAttributes": [{"name": "b", "returned": "never"}]}, "a.b: returned is said of the whole a"),
        ({"name": "a", "description": 1}, "a: description must be a text"),
        ({"name": "a", "description": "\0"}, "no text can hold"),
    ],
)
def test_an_attribute_that_cannot_be_kept_is_refused(attribute: Any, sentence: str) -> None:
    assert sentence in refused(attribute)


@pytest.mark.parametrize(
    ("urn", "sentence"),
    [
        (None, "needs an id"),
        ("hr", "must be a URN"),
        ("https://example.com/hr", "must be a URN"),
        ("URN:example:hr", "must be a URN"),
        ('urn:example:h"r', "must be a URN"),
        ("urn:example:" + "x" * 200, "longer than 200"),
        (USER_URN, "RFC 7643's own"),
        (ENTERPRISE_URN.upper().replace("URN:", "urn:"), "RFC 7643's own"),
        (f"{ENTERPRISE_URN}:department", "RFC 7643's own"),
        ("urn:ietf:params:scim:schemas:core:2.0:Device", "belongs to the RFCs"),
        ("urn:ietf:params:scim:api:messages:2.0:PatchOp", "belongs to the RFCs"),
        ("urn:example:h(r)", "could not be named in a filter"),
    ],
)
def test_a_urn_that_cannot_be_taken_is_refused(urn: Any, sentence: str) -> None:
    assert sentence in refused({"name": "site"}, urn=urn)


def test_the_urns_that_vendors_tell_their_customers_to_use_are_taken() -> None:
    urn = "urn:ietf:params:scim:schemas:extension:CustomExtensionName:2.0:User"

    assert read({"name": "tag"}, urn=urn).urn == urn


def test_a_file_that_is_no_schema_is_refused() -> None:
    for text, sentence in (("{", "not JSON: "), ("[]", "one JSON object"), ('{"id": "urn:a:b", "users": []}', "has no 'users'")):
        with pytest.raises(UnusableSchema, match=sentence):
            read_schema(text, USER_URN)
    assert "needs a list of attributes" in refused()
    assert "larger than" in refused({"name": "a", "description": "x" * 300_000})
    assert "more than 200" in refused(*({"name": f"a{number}"} for number in range(MOST_ATTRIBUTES + 1)))
    assert "two attributes named Site" in refused({"name": "site"}, {"name": "Site"})


def test_what_stands_beside_it_is_looked_at() -> None:
    hr = read({"name": "site"}, urn="urn:example:hr")

    refuse_beside(hr, [hr])
    with pytest.raises(UnusableSchema, match="is also how the attribute site of urn:example:hr is named"):
        refuse_beside(read({"name": "x"}, urn="urn:example:HR:Site"), [hr])
    with pytest.raises(UnusableSchema, match="is also how"):
        refuse_beside(hr, [read({"name": "x"}, urn="urn:example:hr:site")])
    many = [read({"name": "x"}, urn=f"urn:example:s{number}") for number in range(MOST_SCHEMAS)]
    refuse_beside(many[0], many)
    with pytest.raises(UnusableSchema, match="no more can be declared"):
        refuse_beside(hr, many)


def test_a_vocabulary_reads_filters_by_what_is_declared() -> None:
    vocabulary = Vocabulary([read({"name": "Grade", "type": "integer"})])

    assert parse(f"{URN.upper()}:GRADE gt 5", vocabulary) == parse(f"{URN}:Grade gt 5")
    assert vocabulary.spelled((URN.upper(), "gRADE")) == (URN, "Grade")
    assert Vocabulary().spelled((URN.upper(), "gRADE")) == (URN.upper(), "gRADE")
