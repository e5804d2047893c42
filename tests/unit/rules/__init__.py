"""Tests of app/rules."""
