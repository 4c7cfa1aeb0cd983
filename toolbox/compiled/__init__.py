"""Loops for a CPU, compiled at their first use by Numba, which brings its compiler along: threads and vectors."""
