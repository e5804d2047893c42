"""Whence a request comes: by this the doors tell who knocks too often."""

import ipaddress
import re
from typing import Final

from flask import current_app, request

from app.settings import Settings

_WITH_PORT: Final = re.compile(r"\[(?P<six>[^\]]+)\](?::[0-9]+)?|(?P<four>[0-9.]+):[0-9]+")
"""An address as some proxies write it, Azure's Application Gateway among them: with a port, which is another one for each connection."""


def address_of_caller() -> str:
    """The address of whoever asks, as far as our own proxies vouch for it. Of an IPv6 address the network: a single caller has all of it."""
    settings: Settings = current_app.config["DOORLIST"]
    address = request.remote_addr or ""
    if settings.proxies:
        passed = [one.strip() for one in ",".join(request.headers.getlist("X-Forwarded-For")).split(",") if one.strip()]
        # Whatever stands further to the left was written by the caller.
        address = passed[-settings.proxies] if len(passed) >= settings.proxies else address
    if written := _WITH_PORT.fullmatch(address):
        address = written["six"] or written["four"]
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(known, ipaddress.IPv6Address):
        known = known.ipv4_mapped or ipaddress.ip_network((known, 64), strict=False).network_address
    return str(known)
