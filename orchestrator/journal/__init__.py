"""The durable log of runs: opaque bytes, encrypted, in SQLite. `opening` is the way in. Knows no run machine."""
