"""The data plane: every client connection, every hold, the fan-out. Compiled."""
