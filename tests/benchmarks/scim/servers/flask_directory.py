# mypy: ignore-errors
# scim2-flask is installed only for the benchmark, in an environment of its own.
"""scim2-flask over the only store that it ships with, in memory and with indexes on what is unique and what was asked for."""

import json
import os

from flask import Flask, request
from scim2_flask import ScimServer
from scim2_models import UnauthorizedException
from scim2_server.memory import InMemoryStorage
from scim2_server.utils import load_default_provider

EXPECTED = f"Bearer {os.environ['TOKEN']}"


class Storage(InMemoryStorage):
    """Gives those whom it is filled with the ids that the benchmark knows them by."""

    given = None

    def generate_id(self, resource_type, resource):
        return self.given or super().generate_id(resource_type, resource)


class ProtectedServer(ScimServer):
    def create_blueprint(self):
        blueprint = super().create_blueprint()
        blueprint.before_request(_authenticate)
        return blueprint


def _authenticate():
    if request.headers.get("Authorization") != EXPECTED:
        raise UnauthorizedException


def _filled(provider):
    storage = Storage()
    types = {one.name: one for one in provider.resource_types}
    user, group = (provider.model_for(types[name]) for name in ("User", "Group"))
    ids = []
    with provider, open(os.environ["PEOPLE"], encoding="utf-8") as lines:
        for line in lines:
            document = json.loads(line)
            storage.given = document.pop("id")
            storage.create(types["User"], user.model_validate(document))
            ids.append(storage.given)
        members = [{"value": id} for id in ids[: int(os.environ["GROUP_SIZE"])]]
        storage.given = os.environ["GROUP_ID"]
        storage.create(types["Group"], group.model_validate({"displayName": os.environ["GROUP_NAME"], "members": members}))
    storage.given = None
    return storage


def _application():
    provider = load_default_provider()
    app = Flask("directory", static_folder=None)
    app.secret_key = "only for this benchmark"
    ProtectedServer(_filled(provider), provider).init_app(app)
    return app


application = _application()
