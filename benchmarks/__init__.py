"""Side-by-side runs against other tools. Each benchmark is one command and leaves JSON and a table."""
