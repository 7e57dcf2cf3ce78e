"""Servers for tests: every engine's shapes over the tiny models, and all that can go wrong."""
