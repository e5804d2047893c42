"""The shape of the house itself."""
