"""Weights of an ONNX graph in blocks of 4 or 8 bits: which, how they are rounded, how bits are spent."""
