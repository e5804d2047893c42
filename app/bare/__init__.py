"""Connections without a session around them, for the paths that are walked all day.

What costs there is not the database but the work done for each statement around it. Here a statement is compiled once,
and goes to the driver with its values; the same code runs in a thread that waits and on an event loop that does not.
"""
