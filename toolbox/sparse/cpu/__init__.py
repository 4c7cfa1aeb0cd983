"""Loops of sparse convolutions on a CPU, compiled at their first use by Numba, which brings its compiler along."""
