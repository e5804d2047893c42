# mypy: ignore-errors
# Django and django-scim2 are installed only for the benchmark, in an environment of their own.
"""A user and a group with the library's mixins."""

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Upper
from django_scim.models import AbstractSCIMGroupMixin, AbstractSCIMUserMixin


class Group(AbstractSCIMGroupMixin):
    name = models.CharField(max_length=80, unique=True)


class User(AbstractSCIMUserMixin, AbstractUser):
    scim_groups = models.ManyToManyField(Group, related_name="user_set")

    class Meta(AbstractUser.Meta):
        # The library's filters compare userName in capitals; without this each look-up would read the whole table.
        indexes = (models.Index(Upper("username"), name="user_upper_username"),)
