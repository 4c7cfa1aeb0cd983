"""Loops of sparse convolutions on a CPU."""
