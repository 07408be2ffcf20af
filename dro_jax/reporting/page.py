"""The page: one HTML file with its styles and script, that asks the network for nothing."""

import pathlib
from collections.abc import Sequence

import dro_jax
from dro_jax.foreign_texts import source_hash
from dro_jax.reporting.html import Html, element, lines, text
from dro_jax.reporting.section import Section
from dro_jax.reporting.style import RunStyle

_FOLDER = pathlib.Path(__file__).parent


def page(
    title: str, told: str, sections: Sequence[Section], looks: Sequence[RunStyle]
) -> Html:
    """The whole page.

    Args:
      title: its title and first heading.
      told: a sentence below it.
      sections: its parts.
      looks: of the runs.
    """
    style = (_FOLDER / "page.css").read_text("utf-8")
    script = (_FOLDER / "page.js").read_text("utf-8")
    head = lines(
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        # Browsers ask the server for one where a page names none.
        element("link", rel="icon", href="data:,"),
        element("style", Html(style)),
    )
    body = lines(
        element("a", "Skip to the report", href="#report", class_="skip"),
        element(
            "header",
            element("h1", title),
            element("p", told, class_="told"),
            element("ul", [element("li", look.name()) for look in looks],
                    class_="legend", aria_label="Runs"),
        ),
        _contents(sections),
        element("main", lines(*map(_shown, sections)), id="report", tabindex="-1"),
        element("footer", element("p", f"Made by dro_jax {dro_jax.__version__}. ",
                "This page asks the network for nothing. Its numbers are in report.json, "
                "tables/ and figures/ beside it.")),
        element("script", Html(script)),
    )  # fmt: skip
    document = element("html", element("head", head), element("body", body), lang="en")
    return Html(f"<!DOCTYPE html>\n{document}\n")


def _policy(script: str) -> str:
    """What a browser may do on the page: nothing of the network, no other script."""
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src '{source_hash(script)}'; base-uri 'none'; form-action 'none'"
    )


def _contents(sections: Sequence[Section]) -> Html:
    links = [
        element("li", element("a", section.title, href=f"#{section.name}"))
        for section in sections
    ]
    return element("nav", element("ol", links), aria_label="Contents")


def _shown(section: Section) -> Html:
    name = f"{section.name}-title"
    return element(
        "section",
        lines(element("h2", text(section.title), id=name), section.body),
        id=section.name,
        aria_labelledby=name,
    )
