"""The analysis: what a run found, how sure it is of it, and what can be made of it."""
