"""The machines: what they have, and what share of them a fold trial gets."""
