"""What changed here, by whom and why, and the work that it makes."""
