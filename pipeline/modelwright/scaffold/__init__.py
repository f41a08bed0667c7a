"""Writes new plugin packages from templates."""
