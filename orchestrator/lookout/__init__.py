"""What an operator watches a host through: its logs, its figures, its stages, and why a run came out as it did."""
