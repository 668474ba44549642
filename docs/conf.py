from infomax import __version__

project = "infomax"
author = "The infomax developers"
copyright = "2026, the infomax developers"
release = version = __version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
html_theme = "furo"
html_title = "infomax"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_use_rtype = False
nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_raise_on_error = True
myst_enable_extensions = ["dollarmath"]
exclude_patterns = ["_build"]
nitpicky = False
