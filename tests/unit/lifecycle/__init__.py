"""Tests of app/lifecycle."""
