"""Rules of reconciliation, one file each, and what plays them."""
