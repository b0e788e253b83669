"""What stays of runs: records for programs, the memory of a host, and the history of both and of the journal."""
