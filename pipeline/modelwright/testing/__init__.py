"""What a plugin's tests build on: fixtures for pytest, and the conformance tests of a stage."""
