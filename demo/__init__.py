"""Embedded servers, real input and the script behind `make demo`."""
