"""Everything that speaks to a foreign system. Imports nothing of the application."""
