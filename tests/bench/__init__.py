"""The yardstick: our drives beside tgtd's, our uploads beside rclone's (docs/benchmarks.md)."""
