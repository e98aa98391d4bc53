"""Arithmetics other than float64: each file says what the eight node kinds mean in one of them."""
