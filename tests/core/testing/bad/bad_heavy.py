"""A module that imports a runtime when it is imported."""

import onnx  # noqa: F401
from bad_stages import Good


class Heavy(Good, name="bad.heavy"):
    """Copies, after a while."""
