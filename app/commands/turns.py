"""Pulling directories when their turn comes, each on a thread of its own: a slow one keeps nobody else waiting."""

import itertools
import logging
import threading
from collections.abc import Callable
from typing import Final

from flask import Flask
from sqlalchemy.exc import DBAPIError

from app.access.sealing import KeyMissing
from app.actors import Actor, ActorKind
from app.clock import now
from app.database import db, reading
from app.intake import notices, pulling
from app.lifecycle.errors import LifecycleError
from connectors.contract import ConnectorError

log = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""Sources that one process reads at a time. The others are next: they stay due."""
Turn = tuple[str, str]
_in_hand: set[Turn] = set()
# Which was begun last: those that come to nothing, and are due again at once, keep no other from its turn.
_begun: dict[Turn, int] = {}
_numbers = itertools.count(1)
_lock = threading.Lock()


def follow_sources(app: Flask) -> None:
    """Begin whatever is due and not in hand. Several processes may do this: a source is pulled by one at a time (`pull_state.claim`)."""
    with app.app_context():
        try:
            at = now()
            with reading() as session:
                asked = {(one.organization_id, one.source_name): _ask_again for one in pulling.missing_due(session, at)}
                turns = asked | {(one.organization_id, one.source_name): _pull for one in pulling.due(session, at)}
        except DBAPIError as error:
            log.error("what is to be pulled could not be seen: %s", error.__class__.__name__)
            return
    for turn, act in sorted(turns.items(), key=lambda one: _begun.get(one[0], 0)):
        with _lock:
            if turn in _in_hand or len(_in_hand) >= AT_ONCE:
                continue
            # Ended with the process wherever it is: a pull that is killed loses nothing, and ending must not wait for a slow directory.
            threading.Thread(target=_take, args=[app, turn, act], name=f"pull {turn[1]}", daemon=True).start()
            # Only now: where there is no thread to be had it stays due. One that is done already waits for the lock.
            _in_hand.add(turn)
            _begun[turn] = next(_numbers)


def _take(app: Flask, turn: Turn, act: Callable[[Flask, Turn], None]) -> None:
    with app.app_context():
        try:
            act(app, turn)
        except pulling.UnderWay:
            pass
        except (ConnectorError, LifecycleError, KeyMissing) as error:
            log.warning("%s could not be pulled: %s", turn[1], error)
        except DBAPIError as error:
            log.error("%s could not be pulled: %s", turn[1], error.__class__.__name__)
        except Exception:
            log.exception("%s could not be pulled: a fault of Doorlist itself", turn[1])
        finally:
            with _lock:
                _in_hand.discard(turn)
            db.session.remove()


def _pull(app: Flask, turn: Turn) -> None:
    settings = app.config["DOORLIST"]
    pulling.pull(settings, *turn, actor=Actor(kind=ActorKind.SOURCE, name=turn[1]))
    notices.renew(settings, *turn, at=now())


def _ask_again(app: Flask, turn: Turn) -> None:
    pulling.ask_again(app.config["DOORLIST"], *turn)
