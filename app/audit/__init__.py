"""Evidence of what was done in workspaces: append-only, and kept longer than the people it speaks of."""
