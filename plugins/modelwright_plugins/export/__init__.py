"""Stages that take a model to another format."""
