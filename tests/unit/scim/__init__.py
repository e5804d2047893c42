"""Tests of app/scim."""
