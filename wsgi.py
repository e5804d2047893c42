"""For any WSGI server: `gunicorn wsgi:application`."""

from app.assembly import create_app

application = create_app()
