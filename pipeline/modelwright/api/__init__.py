"""What a plugin author builds on: components and the handles they are given."""
