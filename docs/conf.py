"""Sphinx: Markdown pages, built with -n -W."""

project = "nneq"
author = "The nneq authors"
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_title = "nneq"
