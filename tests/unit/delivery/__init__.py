"""Tests of app/delivery."""
