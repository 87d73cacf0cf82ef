"""Deployment and monitoring of a cluster: the shipped files, the Grafana dashboard and the Prometheus metrics."""
