"""Turning data of other formats into the platform's own: one file per format, and what the formats share."""
