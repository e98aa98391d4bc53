"""Sphinx: Markdown pages, built with -n -W."""

project = "nneq"
author = "The nneq authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
napoleon_custom_sections = ["Guarantee"]
# Types of other projects have no pages here; links between our own pages are still checked.
nitpick_ignore_regex = [("py:.*", ".*")]
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_title = "nneq"
