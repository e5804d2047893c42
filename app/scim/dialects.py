"""Every departure from RFC 7643 and RFC 7644 that is accepted: who sends it, where that is known from, what does it, what tests it.

What is not listed here is refused as the RFCs say. `python -m app.scim.dialects > docs/scim/dialects.md` writes the page
anew; a test compares it, and looks for each function and each test by its name.
"""

import sys
from dataclasses import dataclass

OKTA_GUIDE = "https://developer.okta.com/docs/api/openapi/okta-scim/guides/scim-20"
ENTRA_GUIDE = "https://learn.microsoft.com/entra/identity/app-provisioning/use-scim-to-provision-users-and-groups"
ENTRA_COMPATIBILITY = (
    "https://learn.microsoft.com/entra/identity/app-provisioning/application-provisioning-config-problem-scim-compatibility"
)
ENTRA_MAPPINGS = "https://learn.microsoft.com/entra/identity/app-provisioning/customize-application-attributes"
ENTRA_VALIDATION = "AzureAD/SCIMReferenceCode: SCIM-Validation-Test-Overview.md"
ENTRA_COLLECTION = "AzureAD/SCIMReferenceCode: PostmanCollection.json"
ONELOGIN_TEMPLATE = "https://www.livingsecurity.com/migration/support/configuring-scim-for-onelogin"


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """`done_by` is `module:function`; `test` is `module:function` below `tests`."""

    name: str
    clients: tuple[str, ...]
    sends: str
    sources: tuple[str, ...]
    done_by: str
    test: str


DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        name="op in any case",
        clients=("Entra",),
        sends="PATCH with the words `Add`, `Replace` and `Remove` for its operations.",
        sources=(ENTRA_GUIDE,),
        done_by="app.scim.operations:verb_in",
        test="unit.scim.test_dialects:test_an_op_is_read_in_any_case",
    ),
    Deviation(
        name="true and false as texts",
        clients=("Entra", "OneLogin"),
        sends='`"active": "False"`, and `"primary": "True"` within lists; a template that quotes `{$user.active}` does so too.',
        sources=(ENTRA_COMPATIBILITY, "ssoready/ssoready#155", "FusionAuth/fusionauth-issues#3311"),
        done_by="app.scim.bodies:truth_in",
        test="unit.scim.test_dialects:test_true_and_false_may_be_texts",
    ),
    Deviation(
        name="true and false as texts in filters",
        clients=("Entra",),
        sends='A path such as `roles[primary eq "True"].value`.',
        sources=(ENTRA_MAPPINGS,),
        done_by="app.directory.filters:_Reader._compared",
        test="unit.scim.test_dialects:test_true_may_be_a_text_in_a_filter",
    ),
    Deviation(
        name="an element is made where none fits",
        clients=("Entra",),
        sends='`Replace` or `Add` at `emails[type eq "work"].value` while there is no such address, and expects it made once.',
        sources=("sourcegraph/sourcegraph-public-snapshot#49200", "Captain-P-Goldfish/SCIM-SDK#416", "Captain-P-Goldfish/SCIM-SDK#680",
                 "Captain-P-Goldfish/scim-for-keycloak#73"),
        done_by="app.scim.patch:made_to_fit",
        test="unit.scim.test_dialects:test_an_element_is_made_where_none_fits",
    ),
    Deviation(
        name="keys that are paths",
        clients=("Entra",),
        sends="One `replace` without a path whose keys are `name.givenName` or `urn:…:User:employeeNumber`.",
        sources=(ENTRA_COMPATIBILITY, "Captain-P-Goldfish/scim-for-keycloak#26"),
        done_by="app.scim.operations:_without_path",
        test="unit.scim.test_dialects:test_keys_without_a_path_may_be_paths_themselves",
    ),
    Deviation(
        name="unknown attributes are replaced as they come",
        clients=("Entra",),
        sends="`Replace` at the path of an attribute that no schema here has; `add` and `remove` are refused (invalidPath) where the resource has no such attribute yet, and so are all three in a schema that the organisation declared.",
        sources=(ENTRA_COLLECTION,),
        done_by="app.scim.patch:is_place",
        test="unit.scim.test_dialects:test_replace_makes_an_unknown_attribute",
    ),
    Deviation(
        name="unknown attributes are kept",
        clients=("Entra",),
        sends="Attributes at the top that no schema has, such as `department`; they are kept, shown and can be filtered on.",
        sources=(ENTRA_GUIDE, ENTRA_COLLECTION),
        done_by="app.scim.bodies:tidied",
        test="unit.scim.test_dialects:test_unknown_attributes_are_kept_as_they_come",
    ),
    Deviation(
        name="schemas are not read",
        clients=("Entra", "JumpCloud", "OneLogin"),
        sends="`schemas` that name what is not there, a schema of Microsoft's own, one with a slip in its name, those of SCIM 1, or none at all.",
        sources=(ENTRA_GUIDE, "Paul-E/scim-v2-rust: src/test_data", "https://scim.dev/guide/applications/onelogin", "ssoready/ssoready#182"),
        done_by="app.scim.bodies:tidied",
        test="unit.scim.test_dialects:test_schemas_say_what_is_there_whatever_was_said",
    ),
    Deviation(
        name="short paths into the enterprise extension",
        clients=("Entra",),
        sends="`manager` and `department` in paths and filters without the URN of their schema; a filter means what is kept at the top under that name as well, and of a group, which has no such extension, a path means that alone.",
        sources=(ENTRA_GUIDE,),
        done_by="app.directory.filters:_Reader.path",
        test="unit.scim.test_dialects:test_enterprise_attributes_may_be_named_without_their_schema",
    ),
    Deviation(
        name="a manager as a text or a list of one",
        clients=("Entra",),
        sends='The id alone, or `[{"value": id}]`, in PATCH and in POST; it is always answered as `{"value": id}`.',
        sources=("apache/directory-scimple#1242", "Budibase/budibase#15369", ENTRA_GUIDE),
        done_by="app.scim.bodies:complex_in",
        test="unit.scim.test_dialects:test_a_manager_may_be_a_text_or_a_list_of_one",
    ),
    Deviation(
        name="a manager named by a filter",
        clients=("Entra",),
        sends='`remove` at `manager[value eq "…"]`, although there is one manager only.',
        sources=("thomaspoignant/scim-patch#453",),
        done_by="app.scim.patch:_apply_to_elements",
        test="unit.scim.test_dialects:test_a_manager_may_be_removed_by_a_filter",
    ),
    Deviation(
        name="an empty manager is none",
        clients=("OneLogin", "Entra"),
        sends='`{"value": ""}` where a template\'s parameter is empty, or `""` as the manager.',
        sources=(ONELOGIN_TEMPLATE, ENTRA_VALIDATION),
        done_by="app.scim.bodies:says_nobody",
        test="unit.scim.test_dialects:test_an_empty_manager_is_none",
    ),
    Deviation(
        name="an empty text takes away",
        clients=("Entra",),
        sends='`Replace` with `""`, which must clear the attribute as null does.',
        sources=(ENTRA_VALIDATION,),
        done_by="app.scim.bodies:takes_away",
        test="unit.scim.test_dialects:test_replacing_by_an_empty_text_takes_away",
    ),
    Deviation(
        name="a remove that lists elements",
        clients=("Entra",),
        sends="`Remove` at a list with the elements in `value`; only those are meant.",
        sources=(ENTRA_GUIDE, "Captain-P-Goldfish/SCIM-SDK#149"),
        done_by="app.scim.elements:without_listed",
        test="unit.scim.test_dialects:test_a_remove_that_lists_elements_means_only_those",
    ),
    Deviation(
        name="a remove that lists members",
        clients=("Entra", "JumpCloud", "authentik"),
        sends='`remove` at `members` with `[{"value": id}]` instead of `members[value eq "id"]`; only those leave.',
        sources=(ENTRA_GUIDE, "msaad00/agent-bom#3687", "Paul-E/scim-v2-rust: src/test_data", "goauthentik/authentik: clients/groups.py"),
        done_by="app.scim.members:_change_members",
        test="unit.scim.test_dialects:test_a_remove_that_lists_members_means_only_those",
    ),
    Deviation(
        name="a remove that names the value it means",
        clients=("Entra",),
        sends='`Remove` at `emails[type eq "other"].value` with a `value`; another address that is there by now stays.',
        sources=("AzureAD/SCIMReferenceCode#87",),
        done_by="app.scim.bodies:is_meant",
        test="unit.scim.test_dialects:test_a_remove_that_names_a_value_leaves_another",
    ),
    Deviation(
        name="a remove of what is not there",
        clients=("Okta", "Entra"),
        sends='`remove` at `members[value eq "…"]` or `emails[type eq "…"]` where nothing fits: it is so already, and no error (noTarget).',
        sources=(OKTA_GUIDE, ENTRA_GUIDE),
        done_by="app.scim.patch:_without",
        test="unit.scim.test_dialects:test_removing_what_is_not_there_is_no_error",
    ),
    Deviation(
        name="members as bare ids",
        clients=("Entra",),
        sends="Members as texts, one member as an object or text of its own, and with `$ref: null`.",
        sources=("AzureAD/SCIMReferenceCode#24", ENTRA_GUIDE),
        done_by="app.scim.bodies:member_ids",
        test="unit.scim.test_dialects:test_members_may_be_bare_ids",
    ),
    Deviation(
        name="one object for a list",
        clients=("OneLogin",),
        sends="`emails` as one object.",
        sources=("15five/django-scim2: adapters",),
        done_by="app.scim.bodies:listed",
        test="unit.scim.test_dialects:test_one_object_may_stand_for_a_list",
    ),
    Deviation(
        name="id and schemas echoed in a PATCH",
        clients=("Okta", "authentik"),
        sends='`{"op": "replace", "value": {"id": …, "displayName": …}}`; what is read-only and has a path is refused (mutability).',
        sources=(OKTA_GUIDE, "goauthentik/authentik#23950"),
        done_by="app.scim.bodies:is_echo",
        test="unit.scim.test_dialects:test_an_id_echoed_without_a_path_is_passed_over",
    ),
    Deviation(
        name="passwords are dropped",
        clients=("Okta",),
        sends="A placeholder `password` in each POST, and PATCHes of it; it is never kept, answered or logged.",
        sources=(OKTA_GUIDE,),
        done_by="app.scim.bodies:is_kept",
        test="unit.scim.test_dialects:test_a_password_is_dropped",
    ),
    Deviation(
        name="no operations",
        clients=("Entra",),
        sends="PATCH with an empty list of `Operations` (its validator did); nothing changes.",
        sources=("scimmyjs/scimmy#59",),
        done_by="app.scim.operations:read_operations",
        test="unit.scim.test_dialects:test_no_operations_change_nothing",
    ),
    Deviation(
        name="a list of one for one value",
        clients=("Keycloak",),
        sends='PATCH with `"value": [false]` at `active`, `[{"givenName": …}]` at `name` and the like, as the SCIM SDK up to 1.33 does; only where SCIM\'s own schemas have one value.',
        sources=("Captain-P-Goldfish/SCIM-SDK#968",),
        done_by="app.scim.operations:one_in",
        test="unit.scim.test_dialects:test_a_list_of_one_is_that_one_where_there_can_be_no_list",
    ),
    Deviation(
        name="a resource as the text of its JSON",
        clients=("Keycloak",),
        sends='PATCH without a path whose value is `"{\\"displayName\\": …}"`; it takes a group over, and says the members behind it.',
        sources=("Captain-P-Goldfish/scim-for-keycloak#172",),
        done_by="app.scim.operations:resource_in",
        test="unit.scim.test_dialects:test_a_resource_may_be_the_text_of_its_json_without_a_path",
    ),
    Deviation(
        name="a PUT silent about members",
        clients=("Keycloak",),
        sends="PUT of a group without `members`, which keeps them; null and an empty list empty the group.",
        sources=("mitodl/keycloak-scim#134",),
        done_by="app.scim.acts:put_group",
        test="clients.test_dialects:test_keycloak_puts_a_group_without_its_members_and_they_stay",
    ),
    Deviation(
        name="a PUT silent about active",
        clients=("Okta",),
        sends="PUT of a user without `active`, which leaves it.",
        sources=("https://docs.delinea.com/online-help/delinea-platform/scim/okta-scim-provisioning/okta-scim-endpoint-reference.htm",),
        done_by="app.scim.resources:user_draft",
        test="unit.scim.test_choices:test_a_put_without_active_leaves_it",
    ),
    Deviation(
        name="POST of somebody who is off",
        clients=("Okta",),
        sends="POST with the `externalId` of a user who is off: that user is switched on and answered with 201, not refused with 409.",
        sources=("better-auth/better-auth#11111",),
        done_by="app.lifecycle.records:add_record",
        test="unit.scim.test_choices:test_a_post_with_the_external_id_of_someone_who_is_off_switches_them_on_under_the_name_given",
    ),
)  # fmt: skip

HEAD = """# Accepted departures from the RFCs

This page is made from the code by `python -m app.scim.dialects > docs/scim/dialects.md`. What is not listed here is
refused as RFC 7643 and RFC 7644 say.

| departure | who | what is sent | known from | done by | tested by |
|---|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_row(one) for one in DEVIATIONS)


def _row(one: Deviation) -> str:
    cells = (one.name, ", ".join(one.clients), one.sends, ", ".join(one.sources), f"`{one.done_by}`", f"`{one.test.partition(':')[2]}`")
    return "| " + " | ".join(cells) + " |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
