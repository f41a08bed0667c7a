"""What a Hugging Face folder's model is built of, from config.json and safetensors headers."""
