"""How much each channel, neuron, head and layer of a transformer matters."""
