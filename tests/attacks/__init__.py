"""Attacks, each named after its number in the catalogue that the project keeps: P… are those on the SCIM door."""
