"""What Doorlist promises, shown on working parts."""
