"""Model formats and their runners."""
