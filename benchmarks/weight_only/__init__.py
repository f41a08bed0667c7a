"""What four bits cost: methods and mixtures of weight-only quantization on the reference model."""
