"""Trains and judges `reference-lm`, the small language model that the recipes try compression on."""
