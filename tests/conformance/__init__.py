"""`make conformance`: Autobahn's WebSocket test suite against Fanway, and its report in docs/.

It needs Python 2.7, which the suite is written in, so it is no part of `make test`.
"""
