"""Recipes: from YAML and overrides to one typed, strict description of a run."""
