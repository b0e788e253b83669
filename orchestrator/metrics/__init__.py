"""What a host counts and measures of itself, and how Prometheus reads it. Every name stands in docs/metrics.md."""
