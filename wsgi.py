"""For any WSGI server: `waitress-serve wsgi:application`."""

from app.assembly import create_app

application = create_app()
