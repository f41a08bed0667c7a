"""The plan: everything that can be known, and refused, before a weight is read."""
