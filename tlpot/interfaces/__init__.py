"""Energy models behind the interfaces of other programs."""
