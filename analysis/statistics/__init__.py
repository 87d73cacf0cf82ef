"""The statistics of a finished run: effects, intervals, tests; no files and no words."""
