"""Stages that optimize a graph for its runtime."""
