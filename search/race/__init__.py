"""The statistics behind policies: scores so far, expected final scores and chances to win. No policies."""
