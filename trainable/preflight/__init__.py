"""What is found out before the first fold trial: networks that build, their memory, the time of a step."""
