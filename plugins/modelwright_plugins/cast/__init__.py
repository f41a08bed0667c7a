"""Stages that change the data type of weights."""
