"""Watching the boundary while a network learns."""
