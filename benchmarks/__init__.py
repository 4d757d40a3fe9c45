"""What the library costs, measured beside programs that do the same; ``python -m benchmarks --help``."""
