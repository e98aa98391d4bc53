"""Certified engines for smooth and mixed networks: lines, planes, asymptotes."""
