"""Measuring models against each other, and judging the gates."""
