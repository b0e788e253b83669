"""How one plugin runs apart: environments, workers, the protocol. Knows nothing of DAGs or hooks."""
