"""Tests of app/sso."""
