"""The HR door: signed calls that say who leaves, verified, stored, and acted on."""
