"""Tests of shared signals, in and out."""
