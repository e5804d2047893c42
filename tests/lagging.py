"""An audit tree that has to keep up, as it has to in life: other tests run beside no sequencer, and are not asked."""

from dataclasses import replace

from flask import Flask

from app.settings import Settings


def audit_may_lag(app: Flask, seconds: float = 60) -> None:
    """From here on nothing new is given once an entry has waited longer than this for its leaf."""
    settings: Settings = app.config["DOORLIST"]
    app.config["DOORLIST"] = replace(settings, audit_lag=seconds)
