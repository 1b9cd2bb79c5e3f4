"""Reference energies of the tests' parent, and of the level to learn."""

LOW = {1: -13.6, 6: -1030.0, 7: -1485.0, 8: -2040.1}
HIGH = {1: -13.5, 6: -1029.0, 7: -1484.0, 8: -2041.7}
LEVEL = "ccsd(t)/cbs(dt)"
