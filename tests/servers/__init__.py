"""Real servers for tests: started, used and stopped."""
