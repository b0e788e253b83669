"""Has no object called plugin."""
