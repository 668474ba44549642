import os
import re
import sys
from pathlib import Path

from docutils import nodes

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import reference_pages  # noqa: E402
import references  # noqa: E402

from infomax import __version__  # noqa: E402

project = "infomax"
author = "The infomax developers"
copyright = "2026, the infomax developers"
release = version = __version__
extensions = [
    "myst_nb",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx-mathjax-offline",  # so that pages show formulas without a network
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
html_theme = "furo"
html_title = "infomax"
html_static_path = ["_static"]
html_css_files = ["figures.css", "outputs.css"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_inherit_docstrings = False
autosummary_generate = False
napoleon_use_rtype = False
nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "dollarmath"]
copybutton_exclude = ".linenos, .gp, .go"
exclude_patterns = ["_build"]
nitpicky = True
# Names of other packages are links only where their inventories can be read from the network: INFOMAX_INTERSPHINX=1.
if os.environ.get("INFOMAX_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "matplotlib": ("https://matplotlib.org/stable", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "pandas": ("https://pandas.pydata.org/docs", None),
        "python": ("https://docs.python.org/3", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }
OTHERS = "abc|argparse|collections|contextlib|datetime|mmap|numpy|os|pathlib|sklearn|torch"
IMPORTED_FOR_TYPES = "|".join(map(re.escape, references.IMPORTED_FOR_TYPES))
nitpick_ignore_regex = [(r"py:\w+", rf"({OTHERS})\.[\w.]+|nn\.\w+|{IMPORTED_FOR_TYPES}")]


def forget_changed_pages(app, env, names):
    """An object that moved to another page would otherwise be found on its old page as well."""
    for name in names:
        app.emit("env-purge-doc", env, name)
        env.clear_doc(name)


#: How Python prints a warning of a cell: temporary file and line, then the message, then the line of code.
CELL_WARNING = re.compile(r"^\S*ipykernel_\S+?:\d+: (.*)\n(  .*\n?)?", flags=re.MULTILINE)


def without_paths(_app, doctree):
    """A warning on an executed page is its category and its message."""
    for block in doctree.findall(nodes.literal_block):
        if "stderr" in block["classes"]:
            block.rawsource = CELL_WARNING.sub(r"\1\n", block.rawsource)
            block.children = [nodes.Text(block.rawsource)]


def without_dead_links(_app, name, _template, context, _doctree):
    """Source pages lead back to a page of the reference: of its entries they have other paths."""
    if name.startswith("_modules/"):
        body = re.sub(r'(class="viewcode-back" href="[^"#]*)#[^"]*', r"\1", context["body"])
        context["body"] = body.replace('<li><a href="builtins.html">builtins</a></li>', "")


def setup(app):
    reference_pages.write(HERE / "reference")
    app.connect("autodoc-process-docstring", references.resolve, priority=400)  # before napoleon
    app.connect("env-before-read-docs", forget_changed_pages)
    app.connect("missing-reference", references.name_in_full, priority=400)  # before the inventories of others
    app.connect("missing-reference", references.leave_plain, priority=600)  # after them
    app.connect("doctree-read", without_paths)
    app.connect("html-page-context", without_dead_links)
