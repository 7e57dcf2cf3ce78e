"""Models behind a server: the same contract over HTTP, one small module an engine."""
