"""Tests of app/reconcile."""
