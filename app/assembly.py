"""Joins every part, top to bottom: the web application, and what of it commands and workers need."""

import json
import logging
from functools import partial

from flask import Flask, Response
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import PathConverter, UnicodeConverter

from app import database, schema
from app.database import reading
from app.directory import json_sql  # noqa: F401  # every connection learns from the first what whoever comes to ask it may need
from app.intake.hr import is_awaited, relink, retry_parked
from app.lifecycle.belongings import on_becoming_one
from app.lifecycle.joins import on_join
from app.settings import Settings, from_environment, make_home

log = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> Flask:
    """The web application, with every door. Raises SettingError."""
    app = without_doors(settings)
    app.config.pop("DOORS")()
    return app


def without_doors(settings: Settings | None = None) -> Flask:
    """What the command line and a worker need of it: the database and the settings. Raises SettingError.

    Doors bring in whole libraries of signatures and markup, and take longer to load than most commands to run.
    """
    chosen = settings or from_environment()
    app = Flask("doorlist", static_folder=None)
    app.config["DOORLIST"] = chosen
    # Whoever turns out to need them after all opens them by this, once.
    app.config["DOORS"] = partial(_add_doors, app)
    if chosen.database_url.startswith("sqlite"):
        make_home(chosen)
    database.configure(app, chosen)
    # A parked HR call is tried again whenever somebody joins; the directory's verbs do not know the HR door.
    on_join(retry_parked, awaits=is_awaited)
    on_becoming_one(relink)
    return app


class _Piece(UnicodeConverter):
    """A part of an address that a door is given. PostgreSQL cannot even be asked for a NUL, so it becomes what bytes become that are no text.

    It is not refused here: each door answers in its own words, and as it does to whatever else leads nowhere.
    """

    def to_python(self, value: str) -> str:
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")


class _Path(PathConverter):
    """The same of all that is left of an address."""

    def to_python(self, value: str) -> str:
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _add_doors(app: Flask) -> None:
    from app.bare.lent import DRIVERS_OWN
    from app.console.metrics import routes as metrics_routes
    from app.intake.notices import routes as notice_routes
    from app.intake.routes import routes as intake_routes
    from app.scim.hot import HotDoor
    from app.scim.routes import blueprint as scim_blueprint
    from app.scim.token_endpoint import token_blueprint
    from app.signals.routes import signal_routes
    from app.sso.break_glass_pages import break_glass_pages
    from app.sso.devices import devices_blueprint
    from app.sso.employee import employee
    from app.sso.oidc_routes import oidc_blueprint
    from app.sso.pages import assets
    from app.sso.provider.quick_door import QuickDoor
    from app.sso.provider.routes import provider
    from app.sso.saml_routes import routes as saml_routes
    from app.sso.sign_in import sign_in as sign_in_routes

    app.config["MAX_CONTENT_LENGTH"] = app.config["DOORLIST"].body_limit
    # Or it would be sent on, before anybody has shown a token, to an address made of what its head calls the host.
    app.url_map.merge_slashes = False
    app.url_map.converters.update(default=_Piece, string=_Piece, path=_Path)
    for blueprint in (
        scim_blueprint(), token_blueprint(), intake_routes, notice_routes, metrics_routes, assets, employee, sign_in_routes, break_glass_pages, saml_routes,
        oidc_blueprint, devices_blueprint, provider, *signal_routes,
    ):  # fmt: skip
        app.register_blueprint(blueprint)
    _add_health(app)
    hot = HotDoor(app)
    app.wsgi_app = hot  # type: ignore[method-assign]  # Flask's own way to put something before it
    app.wsgi_app = QuickDoor(app, then=hot.soon)  # type: ignore[method-assign]  # as above
    app.register_error_handler(HTTPException, _as_problem)
    for away in (DBAPIError, *DRIVERS_OWN):
        app.register_error_handler(away, _database_away)


def _as_problem(error: HTTPException) -> Response:
    answer = _failed(error.code or 500, error.name, error.description or error.name)
    if isinstance(error, MethodNotAllowed):
        # RFC 9110 §15.5.6: who asks in the wrong way is told the right ones.
        answer.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return answer


def _database_away(error: Exception) -> Response:
    log.error("the database failed: %s", error.__class__.__name__, exc_info=error)
    answer = _failed(503, "Not ready", "the database does not take this just now; try again")
    answer.headers["Retry-After"] = "5"
    return answer


def _failed(status: int, title: str, detail: str) -> Response:
    from app.intake.routes import problem
    from app.sso.failed_pages import failed_page

    return failed_page(status) or problem(status, title, detail)


def _add_health(app: Flask) -> None:
    from app.intake.routes import problem

    @app.get("/healthz")
    def healthz() -> Response:
        """The process is alive; says nothing about what it needs."""
        return Response(json.dumps({"status": "alive"}), content_type="application/json")

    @app.get("/readyz")
    def readyz() -> Response:
        """The database answers and has the present schema."""
        try:
            with reading() as session:
                session.execute(text("SELECT 1"))
            unfit = schema.why_unfit()
        except DBAPIError:
            return problem(503, "Not ready", "the database does not answer")
        if unfit is not None:
            return problem(503, "Not ready", unfit)
        return Response(json.dumps({"status": "ready"}), content_type="application/json")
