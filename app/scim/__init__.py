"""The SCIM door (RFC 7643, 7644): parses, calls one lifecycle verb, answers; it has no rule of its own."""
