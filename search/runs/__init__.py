"""A run on disk: its journal, what the journal adds up to, and how a damaged one is recovered."""
