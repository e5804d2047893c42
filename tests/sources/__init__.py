"""Stand-ins for directories that cannot be run here: they keep the rules of the real ones, and what they hold is changed by the tests."""
