"""GGUF, the file format of llama.cpp: what a checkpoint becomes in it, and llama.cpp itself."""
