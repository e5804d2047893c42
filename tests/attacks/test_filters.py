"""Attacks with filters: out of the quotes, at what is not shown, and with more than a server should read."""

import time
from urllib.parse import quote

from app.scim.seen import flush_requests
from tests.clients.directory import Directory
from tests.clients.transcript import Answer

METACHARACTERS = (
    '"', "'", "\\", "%", "_", "*", "*)(uid=*))(|(uid=*", "' OR '1'='1", "'; DROP TABLE record; --", '" or 1 eq 1', '") or (userName pr', ".*", "^a", "(a+)+$",
    "${jndi:ldap://x}", "{{7*7}}", "{}", "%s%n", "$.userName", "\u2019", "\u02bc", "ada\u0000", "a\nb", "/**/", "1)--", "\x1a", "ada' --",
)  # fmt: skip


def _filtered(directory: Directory, text: str, kind: str = "Users") -> Answer:
    return directory.send("GET", f"/{kind}?filter={quote(text, safe='')}")


def test_p01_a_value_is_a_value_whatever_signs_it_holds(directory: Directory) -> None:
    titles = [text for text in METACHARACTERS if "\0" not in text]
    for number, title in enumerate(titles):
        directory.add_user(f"user{number}", title=title)
    means = {"eq": str.__eq__, "co": str.__contains__, "sw": str.startswith, "ew": str.endswith}

    for text in METACHARACTERS:
        literal = '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
        for operator, holds in means.items():
            answer = _filtered(directory, f"title {operator} {literal}")

            if "\0" in text:
                assert (answer.status, answer.document["scimType"]) == (400, "invalidFilter")
            else:
                found = [resource["title"] for resource in answer.document["Resources"]]
                assert found == [title for title in titles if holds(title.lower(), text.lower())], (operator, text)
        if "\0" not in text:
            for path in ("userName", "emails.value", "externalId", "nickName", 'emails[type eq "work"].value', "id", "groups.display"):
                assert _filtered(directory, f"{path} eq {literal}").document["totalResults"] == 0, (path, text)


def test_p01_nobody_gets_out_of_the_quotes(directory: Directory) -> None:
    tried = (
        'userName eq "x" or 1 eq 1', 'userName eq "x" or "1" eq "1"', 'userName eq "x"" or userName pr', 'userName eq "x" -- ', "1 eq 1", "true",
        'userName eq "x\\" or userName pr', 'userName eq "x" or', "* eq 1", 'userName) pr or (userName eq "x"',
    )  # fmt: skip
    directory.add_user("ada")

    for text in tried:
        answer = _filtered(directory, text)

        assert (answer.status, answer.document["scimType"]) == (400, "invalidFilter"), text


def test_p01_the_name_of_an_attribute_is_no_piece_of_sql(directory: Directory) -> None:
    directory.add_user("ada")

    for name in ("a' OR 1=1 --", 'a"', "a$b", "a->b", "a#>>'{}'", "userName; DROP TABLE record"):
        for text in (f"{name} pr", f"urn:x:{name}:y pr", f"emails[{name} pr]"):
            answer = _filtered(directory, text)

            assert (answer.status, answer.document.get("totalResults", 0)) in ((200, 0), (400, 0)), (text, answer.text)


def test_p01_a_password_tells_nothing_to_who_asks_for_it(directory: Directory) -> None:
    directory.add_user("ada", password="abc-secret")

    for text in (
        'password sw "a"',
        'password eq "abc-secret"',
        "password pr",
        'password co "e"',
        'urn:ietf:params:scim:schemas:core:2.0:User:password sw "a"',
    ):
        answer = _filtered(directory, text)
        assert (answer.status, answer.document["totalResults"]) == (200, 0), text


def test_p01_what_is_not_shown_is_not_asked_for_either(directory: Directory) -> None:
    directory.add_user("ada", title="Analyst")

    for name in (
        "person_id",
        "organization_id",
        "source_id",
        "journal_id",
        "held",
        "off_means",
        "user_name_key",
        "document",
        "rowid",
        "ctid",
    ):
        assert _filtered(directory, f"{name} pr").document["totalResults"] == 0, name


def test_p01_sorting_by_a_password_is_refused_or_sorts_nothing(directory: Directory) -> None:
    for name, password in (("ada", "zzz"), ("bob", "aaa"), ("eve", "mmm")):
        directory.add_user(name, password=password)
    plain = [resource["userName"] for resource in directory.send("GET", "/Users").document["Resources"]]

    for path in ("password", "urn:ietf:params:scim:schemas:core:2.0:User:password"):
        for order in ("ascending", "descending"):
            answer = directory.send("GET", f"/Users?sortBy={path}&sortOrder={order}")

            if answer.status == 200:
                assert [resource["userName"] for resource in answer.document["Resources"]] == plain
            else:
                assert answer.status == 400
                assert "aaa" not in answer.text


TOO_MUCH = (
        "(" * 10_000 + "title pr" + ")" * 10_000, "not (" * 10_000 + "title pr" + ")" * 10_000, "(" * 31 + "title pr" + ")" * 31,
        'title eq "' + "x" * 1_000_000 + '"', " or ".join(["title pr"] * 10_000), "emails[" * 40 + "value pr" + "]" * 40, "a" * 1_000_000 + " pr",
        " " * 1_000_000, "not " * 1_000 + "title pr", "a" * 3_000 + ' "' + '" a eq "' * 120, "[" * 4_000, "a@" * 2_000, "dl_" + "a" * 3_000,
)  # fmt: skip


def test_p02_a_filter_has_bounds_and_says_so(directory: Directory) -> None:
    directory.add_user("ada")
    began = time.process_time()

    for text in TOO_MUCH:
        for kind in ("Users", "Groups") if len(text) < 100_000 else ("Users",):
            answer = _filtered(directory, text, kind)
            assert (answer.status, answer.document["scimType"]) == (400, "invalidFilter"), (text[:50], answer.text[:200])
            assert len(answer.text) < 1_000
    directory.send("POST", "/Users/.search", {"filter": "a" * 1_000_000})
    directory.patch("/Users/x", {"op": "add", "path": "a" * 1_000_000, "value": 1}, {"op": "add", "value": {"a" * 900_000: 1}})

    # What is written down of a request is looked through as well, by a thread that keeps all others waiting meanwhile.
    flush_requests(directory.app)
    assert time.process_time() - began < 20


def test_p02_the_costliest_filter_within_the_bounds_is_answered(directory: Directory) -> None:
    directory.add_user("ada", emails=[{"value": "ada@example.org", "type": "work"}])
    deep = "not (" * 30 + "title pr" + ")" * 30
    wide = " or ".join(['emails[type eq "work" and value co "q"]'] * 90)
    groups = " and ".join(["groups pr"] * 41)
    others = " and ".join(['(active eq true and emails.value eq "ada@example.org")'] * 20)

    filters = (deep, wide.replace(" and ", " or "), groups, others)
    answers = [_filtered(directory, text) for text in filters]

    assert [answer.status for answer in answers] == [200] * 4, [answer.text[:200] for answer in answers]
    for beyond in (wide, f"{groups} and groups pr", f"({others}) and {others}", " and ".join(["groups pr"] * 280)):
        assert (_filtered(directory, beyond).status, len(beyond) <= 4_000) == (400, True), beyond[:100]


def test_p02_asking_whether_anything_is_there_gives_a_page_and_no_more(directory: Directory) -> None:
    for number in range(5):
        directory.add_user(f"user{number}")

    for name in ("id", "userName", "externalId", "emails", "groups", "name", "meta", "schemas", "active", "urn:x:y", "nothing"):
        answer = directory.send("GET", f"/Users?count=2&filter={name}%20pr")

        assert answer.status in (200, 400), name
        assert len(answer.document.get("Resources", [])) <= 2, name


def test_p20_a_page_out_of_all_bounds_is_an_empty_or_a_full_one(directory: Directory) -> None:
    queries = {
        "count=-1": 0, "count=0": 0, "count=1000000000": 3, "count=99999999999999999999": 3, "startIndex=-5": 3, "startIndex=0": 3, "startIndex=1000000000": 0,
        "startIndex=99999999999999999999&count=99999999999999999999": 0, "count=-99999999999999999999": 0,
    }  # fmt: skip
    for number in range(3):
        directory.add_user(f"user{number}")

    for query, shown in queries.items():
        answer = directory.send("GET", f"/Users?{query}")

        assert (answer.status, answer.document["totalResults"], len(answer.document["Resources"])) == (200, 3, shown), query


def test_p20_a_page_that_is_no_number_is_refused(directory: Directory) -> None:
    for query in (
        "count=1.5",
        "count=1e3",
        "count=NaN",
        "startIndex=0x10",
        "count=%00",
        "count=1;2",
        "startIndex=%EF%BC%91x",
        "count=" + "9" * 5_000,
    ):
        answer = directory.send("GET", f"/Users?{query}")

        assert (answer.status, answer.document["scimType"]) == (400, "invalidValue"), query


def _pages(directory: Directory, query: str) -> Answer:
    return directory.send("GET", f"/Users?{query}")


def test_p20_a_cursor_that_was_changed_opens_no_page(directory: Directory, foreign: Directory) -> None:
    for one in (directory, foreign):
        for number in range(4):
            one.add_user(f"user{number}")
    first = _pages(directory, "cursor=&count=2")
    cursor = first.document["nextCursor"]
    theirs = _pages(foreign, "cursor=&count=2").document["nextCursor"]
    middle = len(cursor) // 2
    changed = [
        cursor[:middle] + ("A" if cursor[middle] != "A" else "B") + cursor[middle + 1 :],
        cursor[1:],
        cursor + "A",
        cursor[::-1],
        cursor.swapcase(),
        "x",
        "%00",
        "é",
        "A" * 5_000,
        theirs,
    ]

    answers = [_pages(directory, f"cursor={quote(text, safe='%')}&count=2") for text in changed]

    assert [(answer.status, answer.document.get("scimType")) for answer in answers] == [(400, "invalidCursor")] * len(changed)
    assert len(_pages(directory, f"cursor={quote(cursor, safe='')}&count=2").document["Resources"]) == 2


def test_p20_a_cursor_belongs_to_the_question_it_was_given_for(directory: Directory) -> None:
    for number in range(4):
        directory.add_user(f"user{number}", title="secret" if number else "x")
    asked = quote('title eq "secret"', safe="")
    cursor = quote(_pages(directory, f"cursor=&count=1&filter={asked}").document["nextCursor"], safe="")

    other = _pages(directory, f"cursor={cursor}&count=1")
    groups = directory.send("GET", f"/Groups?cursor={cursor}&count=1")

    assert [answer.status for answer in (other, groups)] == [400, 400]
    assert _pages(directory, f"cursor={cursor}&count=1&filter={asked}").status == 200


def test_p01_what_brackets_may_hold_is_bounded_and_what_they_may_is_answered(directory: Directory) -> None:
    """Each term inside is several expressions, and each pair of brackets a query in another: databases take a thousand, and a few."""
    directory.add_user("ada", emails=[{"value": "ada@x.example", "type": "work"}], title="Cook")
    refused = (
        "emails[" + " or ".join(["a pr"] * 480) + "]", "emails[" + " or ".join(['type eq "a"'] * 101) + "]",
        "emails[not (" + " or ".join(["type pr"] * 101) + ")]", *("a[" * deep + "c pr" + "]" * deep for deep in (2, 14, 29)),
        *("a.b[c pr or " * deep + "x pr" + "]" * deep for deep in (2, 14, 29)), "emails[addresses[type pr]]", "emails[type pr and a[b pr].c pr]",
    )  # fmt: skip
    taken = (
        "emails[" + " or ".join(['type eq "WORK"'] * 100) + "]", " or ".join(["title pr"] * 330), "emails[" + "not (" * 28 + "type pr" + ")" * 28 + "]",
        'emails[type eq "x"] or ' + " or ".join(['emails[type eq "work"]'] * 60), "emails[" + " or ".join(["a pr"] * 99) + " or value pr]",
    )  # fmt: skip

    for text in refused:
        answer = _filtered(directory, text)
        assert (answer.status, answer.document["scimType"]) == (400, "invalidFilter"), text[:60]
        assert "brackets" in answer.document["detail"]
    for text in taken:
        answer = _filtered(directory, text)
        assert (answer.status, answer.document.get("totalResults")) == (200, 1), (text[:60], answer.document)
