"""What runs inside a plugin's environment. Standard library only."""
