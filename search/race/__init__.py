"""The statistics that policies decide by: scores so far, expected final scores, chances to win. No policies."""
