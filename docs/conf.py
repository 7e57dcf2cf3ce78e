"""Sphinx: Markdown pages, furo, and the reference from docstrings. Warnings are errors."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "qwen-retrieval"
author = "The qwen-retrieval authors"
project_copyright = author
release = version_of("qwen-retrieval")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "changes", "examples"]
html_theme = "furo"
html_title = "qwen-retrieval"

myst_heading_anchors = 3
# Docstrings write code as `code`.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"show-inheritance": False}
# What is imported only for type checkers stands as it is written.
autodoc_type_aliases = {"Vectors": "Vectors"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
