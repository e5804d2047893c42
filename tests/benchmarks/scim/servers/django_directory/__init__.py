"""A Django project with django-scim2, as its documentation and its own tests set it up, on PostgreSQL."""
