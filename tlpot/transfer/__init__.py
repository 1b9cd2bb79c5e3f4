"""Strategies: which weights start where, and which of them move."""
