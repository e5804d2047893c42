"""One room at a time; mirrors app."""
