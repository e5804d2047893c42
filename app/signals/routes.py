"""Every door of this room, to be registered once with an application."""

from typing import Final

from app.signals.poll_routes import poll_routes
from app.signals.push_routes import push_routes
from app.signals.stream_routes import stream_routes
from app.signals.transmitter_routes import transmitter_routes
from app.signals.universal_logout import logout_routes

signal_routes: Final = (push_routes, logout_routes, stream_routes, poll_routes, transmitter_routes)
