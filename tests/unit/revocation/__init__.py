"""Tests of taking access away, and of what people are told."""
