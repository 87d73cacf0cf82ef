"""The adapter to Ray Tune and what stands between it and a study: jobs, failures, watching."""
