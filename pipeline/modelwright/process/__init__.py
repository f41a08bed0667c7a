"""Worker processes: one job each, measured, killed with their parent."""
