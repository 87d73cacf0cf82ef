"""What deploys and monitors a cluster: the shipped files, the Grafana dashboard and Prometheus metrics."""
