"""llama2.c's files, `model.bin` and `tokenizer.bin`: layout, writing, reading and the forward pass."""
