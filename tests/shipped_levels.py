"""Levels of theory of the shipped data."""

DFT = "wb97x/6-31g*"
CC = "ccsd(t)/cbs(dt)"
