# mypy: ignore-errors
# Django and django-scim2 are installed only for the benchmark, in an environment of their own.
"""Settings, addresses and the WSGI application. `python -m django_directory.site FILE` makes the tables and fills them."""

import json
import os
import sys
from urllib.parse import urlsplit

import django
from django.conf import settings

_database = urlsplit(os.environ["DATABASE_URL"])
if not settings.configured:
    settings.configure(
        SECRET_KEY="only for this benchmark",
        DEBUG=False,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF="django_directory.site",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_scim", "django_directory"],
        AUTH_USER_MODEL="django_directory.User",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        MIDDLEWARE=[],
        USE_TZ=True,
        # Tables are made as the models stand, those of Django's own applications as well.
        MIGRATION_MODULES={"auth": None, "contenttypes": None, "django_directory": None},
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql", "NAME": _database.path.lstrip("/"), "USER": _database.username,
                "HOST": _database.hostname, "PORT": _database.port, "CONN_MAX_AGE": None,
            }
        },
        SCIM_SERVICE_PROVIDER={
            "NETLOC": "127.0.0.1",
            "SCHEME": "http",
            "GROUP_MODEL": "django_directory.models.Group",
            "USER_FILTER_PARSER": "django_directory.scim.UserFilterQuery",
            "AUTH_CHECK_MIDDLEWARE": "django_directory.scim.BearerMiddleware",
            "AUTHENTICATION_SCHEMES": [{"type": "oauth2", "name": "OAuth 2", "description": "bearer token", "specUri": "", "documentationUri": ""}],
        },
    )  # fmt: skip
    django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402  # the settings come first
from django.urls import include, path  # noqa: E402  # likewise

urlpatterns = [path("scim/v2/", include("django_scim.urls"))]
application = get_wsgi_application()


def fill(people, group_name, group_size, told):
    """Tables, people and one group; writes the ids that they got, and the group's."""
    from django.core.management import call_command
    from django.db import connection
    from django_directory.models import Group, User

    call_command("migrate", run_syncdb=True, verbosity=0)
    with open(people, encoding="utf-8") as lines:
        documents = [json.loads(line) for line in lines]
    users = [
        User(
            id=number, scim_id=str(number), scim_external_id=one["externalId"], scim_username=one["userName"], username=one["userName"],
            first_name=one["name"]["givenName"], last_name=one["name"]["familyName"], email=one["emails"][0]["value"], is_active=True,
        )
        for number, one in enumerate(documents, start=1)
    ]  # fmt: skip
    User.objects.bulk_create(users, batch_size=2000)
    group = Group.objects.create(name=group_name)
    through = User.scim_groups.through
    through.objects.bulk_create([through(user_id=user.id, group_id=group.id) for user in users[:group_size]], batch_size=2000)
    with connection.cursor() as cursor:
        # The ids were given by hand.
        cursor.execute("SELECT setval(pg_get_serial_sequence('django_directory_user', 'id'), %s)", [len(users)])
    with open(told, "w", encoding="utf-8") as file:
        json.dump({"ids": [str(user.id) for user in users], "group": str(group.scim_id)}, file)


if __name__ == "__main__":
    fill(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
