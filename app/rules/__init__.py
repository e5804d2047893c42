"""Channel rules: who belongs where, said as queries."""
