"""The built-in plugins: every format, stage, metric, data set and publisher that ships with modelwright."""
