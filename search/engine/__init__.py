"""Runs the jobs of a study as trials of Ray Tune: job feed, failures, events, metrics. Decisions are the study's."""
