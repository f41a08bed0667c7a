"""Compression of a checkpoint block by block, each calibrated on what the blocks before it now give."""
