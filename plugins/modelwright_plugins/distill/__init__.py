"""Stages that train a student to do what its teacher does."""
