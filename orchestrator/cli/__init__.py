"""The `penstock` command. Nothing here decides; it reads, asks and prints."""
