"""Joins every part, top to bottom: the web application and the entry point of the command line."""

import json
import logging
import sys

from flask import Flask, Response
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import HTTPException

from app import database, schema
from app.bare.lent import allow_bare
from app.console.metrics import routes as metrics_routes
from app.database import reading
from app.intake.hr import retry_parked
from app.intake.routes import problem
from app.intake.routes import routes as intake_routes
from app.lifecycle.joins import on_join
from app.scim.hot import HotDoor
from app.scim.routes import blueprint as scim_blueprint
from app.scim.token_endpoint import token_blueprint
from app.settings import Settings, from_environment

log = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> Flask:
    """The web application. Raises SettingError."""
    chosen = settings or from_environment()
    app = Flask("doorlist", static_folder=None)
    app.config["DOORLIST"] = chosen
    app.config["MAX_CONTENT_LENGTH"] = chosen.body_limit
    if chosen.database_url.startswith("sqlite"):
        chosen.home.mkdir(parents=True, exist_ok=True)
    database.configure(app, chosen)
    # A parked HR call is tried again whenever somebody joins; the directory's verbs do not know the HR door.
    on_join(retry_parked)
    app.register_blueprint(scim_blueprint())
    app.register_blueprint(token_blueprint())
    app.register_blueprint(intake_routes)
    app.register_blueprint(metrics_routes)
    _add_health(app)
    allow_bare(app)
    app.wsgi_app = HotDoor(app)  # type: ignore[method-assign]  # Flask's own way to put something before it
    app.register_error_handler(HTTPException, _as_problem)
    app.register_error_handler(DBAPIError, _database_away)
    return app


def _as_problem(error: HTTPException) -> Response:
    return problem(error.code or 500, error.name, error.description or error.name)


def _database_away(error: DBAPIError) -> Response:
    log.error("the database failed: %s", error.__class__.__name__, exc_info=error)
    answer = problem(503, "Not ready", "the database does not take this just now; nothing was changed, try again")
    answer.headers["Retry-After"] = "5"
    return answer


def _add_health(app: Flask) -> None:
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
            current = schema.is_current()
        except DBAPIError:
            return problem(503, "Not ready", "the database does not answer")
        if not current:
            return problem(503, "Not ready", "the database has an older schema: run 'doorlist init'")
        return Response(json.dumps({"status": "ready"}), content_type="application/json")


def main() -> None:
    """Entry point of the command line."""
    from app.commands.entry import run

    sys.exit(run(create_app))
