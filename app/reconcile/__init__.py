"""What should be against what is: plans as values, and the ceiling that they are measured by."""
