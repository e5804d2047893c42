"""How a server's certificate is looked at: chain, dates and name, by the system's authorities or a company's own."""

from __future__ import annotations

import ssl


def verifying(ca_file: str | None) -> ssl.SSLContext:
    """For a client; `ca_file` names the only authorities that count. Raises OSError where that file cannot be read."""
    context = ssl.create_default_context(cafile=ca_file)
    as_everywhere(context)
    return context


def unreadable(ca_file: str) -> str | None:
    """Why nobody can be verified by this file, as a sentence about it without its full stop; None where it names authorities."""
    try:
        verifying(ca_file)
    except ssl.SSLError:
        return f"ca_file {ca_file} holds no certificate in PEM"
    except OSError as error:
        return f"ca_file {ca_file} cannot be read: {error.strerror}"
    return None


def as_everywhere(context: ssl.SSLContext) -> None:
    """Accept with Python 3.13 what 3.11, curl and OpenSSL itself accept.

    From 3.13 on Python asks of each certificate that it keeps to RFC 5280 in full, so with an Authority Key Identifier, which those of
    many a company's own authority lack, and those that 389-ds makes for itself. Whom a certificate speaks for is checked all the same.
    https://docs.python.org/3/library/ssl.html#ssl.create_default_context
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
