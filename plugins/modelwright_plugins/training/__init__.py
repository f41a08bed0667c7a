"""Training on accelerate, for the stages that retrain a model."""
