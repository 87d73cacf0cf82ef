"""What a run of fold trials says: the winner, what it cannot be told from, and what becomes of it."""
