"""What watches the registry, judged by Prometheus' and Alertmanager's own programs."""
