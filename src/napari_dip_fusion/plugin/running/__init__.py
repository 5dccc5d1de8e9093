"""Runs in worker threads: their plan, their events, their sessions."""
