"""Whole runs against whole processes: `python -m benchmarks.macro`, which `make bench` calls."""
