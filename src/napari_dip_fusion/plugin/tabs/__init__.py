"""The tabs of the widget: what their buttons do, and what is seen of a run."""
