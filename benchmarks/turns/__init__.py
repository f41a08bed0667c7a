"""What every side-by-side benchmark shares: workers in processes of their own, and what the machine was."""
