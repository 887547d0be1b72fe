"""The link: where control meets its workers (fastpath/LINK.md)."""
