"""The little of BER (X.690) that controls need and ldap3 does not do for us."""

from __future__ import annotations

from collections.abc import Iterator

SEQUENCE, SET, ENUMERATED, OCTETS, INTEGER, BOOLEAN = 0x30, 0x31, 0x0A, 0x04, 0x02, 0x01


def tlv(tag: int, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        return bytes([tag, size]) + value
    long = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(long)]) + long + value


def items(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and value of each, one level deep. Raises ValueError for a length that goes beyond the end."""
    at = 0
    while at < len(content):
        tag, size, at = content[at], content[at + 1], at + 2
        if size & 0x80:
            octets = size & 0x7F
            size, at = int.from_bytes(content[at : at + octets], "big"), at + octets
        if at + size > len(content):
            raise ValueError("cut short")
        yield tag, content[at : at + size]
        at += size


def integer(value: int) -> bytes:
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
