"""What this machine has and what a fold trial is given of it; nothing that trains."""
