"""The documentation's site: guides and docstrings are read without a warning."""

import io
import runpy

import pytest
from import_graph import ROOT

from dro_jax.objectives import registry

DOCS = ROOT / "docs"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of packages that the documented files import
def test_the_site_is_read_without_a_warning(tmp_path):
    pytest.importorskip("myst_parser", reason="needs the extra docs")
    application = pytest.importorskip(
        "sphinx.application", reason="needs the extra docs"
    )
    warnings = io.StringIO()
    # "dummy" reads every page and follows its references, and writes nothing.
    site = application.Sphinx(
        DOCS,
        DOCS,
        tmp_path / "pages",
        tmp_path / "read",
        buildername="dummy",
        status=None,
        warning=warnings,
    )
    site.build()
    assert warnings.getvalue() == ""
    guides = {path.stem for path in DOCS.glob("*.md")}
    found = site.env.found_docs
    assert found > guides | {"api/dro_jax.objectives", "api/dro_jax.data.packing"}
    told = site.env.get_domain("py").objects
    kinds = registry.kinds()
    names = {*kinds, *(kind.__name__ for kind in kinds.values())}
    assert told.keys() >= {f"dro_jax.objectives.{name}" for name in names}
    assert "dro_jax.training.train.train" in told


def test_docstrings_are_read_as_they_are_meant():
    written = """Leaves, `Leaf`s of |x|.

    V* = |r| − `x`s

    (second block)

Args:
  a: ``|b|`` and |c|,
    so.

    More of it, |d|.

Example::

    code | code"""
    lines = written.split("\n")
    runpy.run_path(str(DOCS / "conf.py"))["_as_rst"](None, "", "", None, {}, lines)
    assert (
        "\n".join(lines)
        == r"""Leaves, `Leaf`\ s of \|x\|.

::

    V* = |r| − `x`s

    (second block)

Args:
  a: ``|b|`` and \|c\|,
    so.

    More of it, \|d\|.

Example::

    code | code"""
    )
