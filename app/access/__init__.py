"""What lets someone in right now: tokens of clients and operators, and the accounts that people hold in workspaces."""
