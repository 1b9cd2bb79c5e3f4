"""Potentials made of the building blocks, and their files."""
