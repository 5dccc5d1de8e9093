"""Runs in worker threads: their control, their events, and the layers they fill."""
