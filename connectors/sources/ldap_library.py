"""ldap3, imported in one place: it has no types, and its final release names what pyasn1 has since called otherwise."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import ldap3
    from ldap3.core.exceptions import LDAPException, LDAPInvalidFilterError
    from pyasn1.error import PyAsn1Error

__all__ = ["BROKEN", "LDAPException", "LDAPInvalidFilterError", "ldap3"]

BROKEN = (LDAPException, OSError, PyAsn1Error, LookupError, ValueError, TypeError, AttributeError, RecursionError)
"""What comes out of it when a connection breaks, or when what answers does not speak LDAP: it takes that apart unchecked."""
