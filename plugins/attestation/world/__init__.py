"""Where the plugin meets the world: files, sockets, clock, randomness and child processes."""
