"""The command line. Importing it is quick; commands import what they need when they run."""
