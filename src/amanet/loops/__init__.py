"""Loops and matrix products that numba compiles, and their code as it is kept on disk."""
