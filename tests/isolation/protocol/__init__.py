"""A package, because `runtime/` has a test_frames.py too and pytest tells modules apart by name."""
