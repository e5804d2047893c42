"""The provider's doors, each at the address that its metadata names."""

from typing import Final

from flask import Blueprint, Response, request

from app.sso.provider.authorize import authorize
from app.sso.provider.device import device
from app.sso.provider.gate import gate
from app.sso.provider.introspection import introspect
from app.sso.provider.logout import logout
from app.sso.provider.metadata import configuration, keys
from app.sso.provider.tokens import device_authorization, revoke, token
from app.sso.provider.userinfo import userinfo

provider: Final = Blueprint("provider", __name__)

provider.add_url_rule("/.well-known/openid-configuration", view_func=configuration, methods=["GET"])
provider.add_url_rule("/jwks", view_func=keys, methods=["GET"])
provider.add_url_rule("/authorize", view_func=authorize, methods=["GET", "POST"])
provider.add_url_rule("/token", view_func=token, methods=["POST"])
provider.add_url_rule("/userinfo", view_func=userinfo, methods=["GET", "POST"])
provider.add_url_rule("/revoke", view_func=revoke, methods=["POST"])
provider.add_url_rule("/introspect", view_func=introspect, methods=["POST"])
provider.add_url_rule("/device_authorization", view_func=device_authorization, methods=["POST"])
provider.add_url_rule("/device", view_func=device, methods=["GET", "POST"])
provider.add_url_rule("/logout", view_func=logout, methods=["GET", "POST"])
provider.add_url_rule("/gate", view_func=gate, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])

_OPEN: Final = frozenset({"provider.token", "provider.revoke", "provider.userinfo"})


@provider.after_request
def open_to_pages(answer: Response) -> Response:
    """Pages of other origins may ask what public clients ask, and read the answer: nothing of it rests on a cookie (Core §5.3, Fetch §3.2)."""
    if request.endpoint in _OPEN:
        answer.headers["Access-Control-Allow-Origin"] = "*"
        answer.headers["Access-Control-Expose-Headers"] = "Retry-After, WWW-Authenticate"
        if request.method == "OPTIONS":
            answer.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
            answer.headers["Access-Control-Max-Age"] = "3600"
    return answer
