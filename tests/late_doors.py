"""The application as `create_app` makes it, whose doors are opened by whoever looks for one: that takes longer than most tests."""

from __future__ import annotations

import threading
from typing import Any

from flask import Flask

from app.assembly import without_doors
from app.settings import Settings

_AT_THE_DOORS = frozenset({"wsgi_app", "url_map", "blueprints"})
_opening = threading.RLock()


def create_late(settings: Settings) -> Flask:
    app = without_doors(settings)
    app.__class__ = _Shut
    return app


class _Shut(Flask):
    def __getattribute__(self, name: str) -> Any:
        if name in _AT_THE_DOORS:
            with _opening:
                if (open_doors := self.config.pop("DOORS", None)) is not None:
                    open_doors()
        return super().__getattribute__(name)
