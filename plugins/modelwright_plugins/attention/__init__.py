"""Which attention a checkpoint runs with in PyTorch, and which kernels really compute it."""
