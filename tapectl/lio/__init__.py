"""The kernel's target (LIO) in front of our device servers: its configuration, TCMU's rings."""
