"""The Grafana dashboards, as code: what each panel shows, in which unit, and from when on it is a concern."""
