"""Builds TensorRT engines: the library at hand, the network out of a graph, shapes and settings."""
