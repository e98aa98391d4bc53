"""Exact engines for piecewise-linear networks: lines, planes, cells, nearest points, proofs."""
