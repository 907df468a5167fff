"""The format of a tape, pure functions on bytes: frames, segments, their index, their chain."""
