"""For any WSGI server: `granian --interface wsgi wsgi:application`."""

from app.assembly import create_app

application = create_app()
