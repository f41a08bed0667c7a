"""Running a plan: steps, validation, verdict, release."""
