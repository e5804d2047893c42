"""Doorlist: who is on the list gets in; whoever is struck off is out, and that is proved."""
