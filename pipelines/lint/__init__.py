"""The checks of a pipeline file beyond its shape: what its values mean together. What passes becomes a `Plan`."""
