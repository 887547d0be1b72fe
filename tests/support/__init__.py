"""What the conversations are made of: a real Fanway, a scripted origin, raw clients.

Nothing here knows GRIP beyond spelling its headers, and nothing waits for a while: it waits for
something, with a deadline.
"""
