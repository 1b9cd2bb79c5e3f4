"""The training loop and its parts; none of them knows about transfer."""
