# mypy: ignore-errors
# Django and django-scim2 are installed only for the benchmark, in an environment of their own.
"""What the library leaves to its user: who is let in, and which columns filters mean."""

import os

from django.contrib.auth import get_user_model
from django_scim.filters import UserFilterQuery as LibraryUserFilterQuery
from django_scim.middleware import SCIMAuthCheckMiddleware


class UserFilterQuery(LibraryUserFilterQuery):
    attr_map = {  # noqa: RUF012  # as the library has it
        ("userName", None, None): "username",
        ("externalId", None, None): "scim_external_id",
        ("active", None, None): "is_active",
    }


class BearerMiddleware(SCIMAuthCheckMiddleware):
    """The library asks only whether somebody is signed in."""

    expected = f"Bearer {os.environ['TOKEN']}"

    def process_request(self, request):
        if request.headers.get("Authorization") == self.expected:
            request.user = get_user_model()(username="directory")
        return super().process_request(request)
