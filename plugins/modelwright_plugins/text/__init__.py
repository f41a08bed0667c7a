"""Text in, vectors out: what the runners of every text encoder share."""
