"""Released artifacts: what is in one, how it is built, opened and verified."""
