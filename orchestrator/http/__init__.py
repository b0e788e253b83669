"""The HTTP door of `penstock serve`: calls of hooks, what a host shows of itself, commands; on a Unix socket."""
