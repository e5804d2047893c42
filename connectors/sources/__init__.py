"""Sources: directories of people that are pulled."""
