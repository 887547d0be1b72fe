"""The control plane: origin calls, GRIP instructions, publishing. Pure Python."""
