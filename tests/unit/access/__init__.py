"""Tests of what lets clients in: tokens, OAuth clients, assertions, limits."""
