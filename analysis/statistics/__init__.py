"""Statistics of a run: effects, intervals and tests, computed from tables; no files and no report texts."""
