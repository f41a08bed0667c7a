"""The content-addressed store: finished steps, kept by what they were made from."""
