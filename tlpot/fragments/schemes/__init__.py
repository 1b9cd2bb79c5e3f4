"""Fragment schemes: which pieces, with which signs."""
