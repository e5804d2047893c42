"""Joining, moving, pausing, leaving, returning: the verbs that doors call; standing; the brake."""
