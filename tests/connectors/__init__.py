"""Connectors against faked transports and against real servers."""
