"""Workspaces: where people have accounts and meet in channels."""
