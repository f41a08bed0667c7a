"""What pruning, training and quantizing checkpoints cost and win back, method beside method."""
