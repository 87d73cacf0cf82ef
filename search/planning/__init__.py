"""Estimates what a search will take before it starts: steps, seconds, memory, GPU-hours and cost."""
