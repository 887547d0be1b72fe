"""The rules and values of GRIP, pure: no event loop, no socket, no clock, no logger."""
