"""One step of a causal language model as an ONNX graph: attention, norms and rotary traced as operators."""
