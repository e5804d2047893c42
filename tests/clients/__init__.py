"""What real identity providers send, as they send it."""
