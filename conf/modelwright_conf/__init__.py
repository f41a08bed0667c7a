"""Recipes, models, targets and validations that ship with modelwright, as Hydra config groups."""
