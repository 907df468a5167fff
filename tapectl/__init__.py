"""tapectl: a tape gateway anyone can run."""

__version__ = "0.1.0"
