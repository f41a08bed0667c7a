"""The validation report: one model of it, and its renderings."""
