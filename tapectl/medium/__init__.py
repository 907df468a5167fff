"""The format of a tape as pure functions on bytes: frames, segments, their index and their chain."""
