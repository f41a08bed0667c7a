"""A sentence encoder in int8 on the CPU: our artifacts beside what other tools make of the same weights."""
