"""Where two outputs are equal: the problem, the engines, the solutions."""
