"""Taking access away: the departure, its deadlines, and the proof of it per workspace."""
