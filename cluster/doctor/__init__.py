"""Health checks that run on every node of a cluster."""
