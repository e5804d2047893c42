"""Shared signals: what others tell us of people's sessions and accounts, and what we tell others."""
