"""The parts of the widget in which something is chosen."""
