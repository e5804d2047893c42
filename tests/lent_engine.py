"""Each command makes an application of its own and leaves its connections; here the next one gets those of the first again.

To open them anew, PostgreSQL's above all, took a third of the time of whatever is typed in tests.
"""

from __future__ import annotations

from flask import Flask

from app.database import db
from app.settings import Settings


def lent_engine(owner: Flask, made: Flask) -> Flask:
    """`made`, which goes on with `owner`'s connections where both have the same database; they end with the owner's."""
    theirs: Settings = owner.config["DOORLIST"]
    its: Settings = made.config["DOORLIST"]
    if its.database_url != theirs.database_url:
        return made
    with owner.app_context():
        lent = db.engine.execution_options()
    # Whoever typed closes what is not theirs.
    lent.dispose = lambda close=True: None  # type: ignore[method-assign]
    with made.app_context():
        db.engines[None] = lent  # type: ignore[index]  # called a mapping, and kept as a dict
    return made
