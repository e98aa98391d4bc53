"""Equation systems, substitution, matrix form, exponential sums, derivations."""
