"""`make differential`: the conversations with Debian's Pushpin in Fanway's place.

It needs the package `pushpin`, so it is no part of `make test`. The record is in docs/.
"""
