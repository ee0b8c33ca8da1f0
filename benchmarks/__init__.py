"""Measurements of decoygrid itself: run from the repository root, as `python -m benchmarks.NAME`."""
