"""Predicted and measured memory of each step that takes a causal language model."""
