"""The browser of tests sees what a person would, and says what is wrong with a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.chromium import Chromium, Window

pytestmark = pytest.mark.browser

GOOD = """<!doctype html><html lang="en"><head><title>Devices</title></head>
<body><main><h1>Your devices</h1><p>There are none.</p></main></body></html>"""
POLICY = {"Content-Security-Policy": "default-src 'self'"}


def show(window: Window, document: str, **headers: str) -> None:
    """As an address would answer that nobody else can reach."""
    window.context.route(
        "http://127.0.0.1:9/page",
        lambda route: route.fulfill(body=document, content_type="text/html", headers={**headers, "Content-Type": "text/html"}),
    )
    window.context.route("http://127.0.0.1:9/favicon.ico", lambda route: route.fulfill(status=204))
    window.page.goto("http://127.0.0.1:9/page")


def test_a_good_page_has_no_faults(chromium: Chromium) -> None:
    with chromium.window(width=360) as window:
        show(window, GOOD, **POLICY)

        assert window.faults() == []
        assert not window.too_wide()
        assert window.errors == []


def test_a_page_that_some_cannot_read_has_faults(chromium: Chromium) -> None:
    pale = '<body style="background: #fff"><main><p style="color: #ccc">Pale</p><input></main></body>'

    with chromium.window() as window:
        show(window, GOOD.replace("<body>", pale))

        assert {fault.partition(" ")[0] for fault in window.faults()} == {"color-contrast", "label"}


def test_a_page_is_looked_at_in_the_dark_too(chromium: Chromium) -> None:
    style = "<style>@media (prefers-color-scheme: dark) { body { background: #000; color: #222 } }</style></head>"
    document = GOOD.replace("</head>", style)

    with chromium.window() as light, chromium.window(dark=True) as dark:
        show(light, document)
        show(dark, document)

        assert light.faults() == []
        assert {fault.partition(" ")[0] for fault in dark.faults()} == {"color-contrast"}


def test_what_the_policy_of_a_page_refuses_is_an_error(chromium: Chromium) -> None:
    with chromium.window() as window:
        show(window, GOOD.replace("</body>", "<script>document.title = 'changed'</script></body>"), **POLICY)

        assert window.page.title() == "Devices"
        assert len(window.errors) == 1
        assert "Content Security Policy" in window.errors[0]


def test_a_part_that_cannot_be_had_is_an_error(chromium: Chromium) -> None:
    with chromium.window() as window:
        window.context.route("http://127.0.0.1:9/logo.png", lambda route: route.fulfill(status=404))
        show(window, GOOD.replace("</body>", '<img src="/logo.png" alt=""></body>'))

        assert window.errors == ["404 http://127.0.0.1:9/logo.png"]


def test_scripts_can_be_done_without(chromium: Chromium) -> None:
    scripted = GOOD.replace("</body>", "<script>document.title = 'changed'</script></body>")

    with chromium.window(scripts=False) as window:
        show(window, scripted)

        assert window.page.title() == "Devices"


def test_a_page_wider_than_its_window_is_noticed(chromium: Chromium) -> None:
    with chromium.window(width=360) as window:
        show(window, GOOD.replace("<p>", '<p style="width: 500px">'))

        assert window.too_wide()


def test_a_picture_shows_the_whole_page(chromium: Chromium, tmp_path: Path) -> None:
    with chromium.window(width=360, height=400) as window:
        show(window, GOOD.replace("<p>", '<p style="height: 2000px">'))

        picture = window.picture(tmp_path / "pictures", "devices-360").read_bytes()

    # IHDR: width and height.
    assert (int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24]) > 2000) == (360, True)


def test_two_windows_are_two_people(chromium: Chromium) -> None:
    with chromium.window() as one, chromium.window() as other:
        show(one, GOOD, **{"Set-Cookie": "who=ada"})
        show(other, GOOD)

        assert [cookie["name"] for cookie in one.context.cookies()] == ["who"]
        assert other.context.cookies() == []
