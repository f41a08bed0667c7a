"""Causal language models on this CPU: prefill and decode, side by side with the peers."""
