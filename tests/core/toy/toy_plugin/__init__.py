"""A plugin of its own: a format that needs only NumPy, and stages that behave well or badly on purpose."""
