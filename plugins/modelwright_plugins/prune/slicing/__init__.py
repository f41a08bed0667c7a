"""Smaller matrices out of a transformer's, consistently for all that depend on each other."""
