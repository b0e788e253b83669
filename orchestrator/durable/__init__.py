"""Runs that outlive their host: what the journal holds of them, and how they are read back and taken up."""
