"""What `penstock attest` does, a module for each of its subjects."""
