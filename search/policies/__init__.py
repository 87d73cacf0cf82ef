"""The policies, one per file, the contract that all of them implement, and the registry of their names."""
