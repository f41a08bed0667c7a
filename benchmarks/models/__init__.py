"""Checkpoints that benchmarks start from, and the steps they run on them."""
