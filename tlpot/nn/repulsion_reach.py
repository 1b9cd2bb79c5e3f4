"""Where the nuclear repulsion ends; apart from it, because reading a card needs no torch."""

REACH = 0.75
"""Share of the sum of the covalent radii. Ending it at the bond length would put the jump of its
third derivative where molecules live, and energy would drift."""
