"""Responses of all runs to the same prompts, side by side, to be searched."""

from collections.abc import Mapping, Sequence

import numpy as np

from dro_jax.evaluation.evaluated_run import SampledResponse
from dro_jax.evaluation.figures import figure
from dro_jax.foreign_texts import harmless_cell
from dro_jax.plurals import counted
from dro_jax.reporting.html import Html, element, lines
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.tables import value_text

DEFAULT_SAMPLES = 100
_TITLE, _NAME = "Samples, side by side", "samples"
MOST_CHARACTERS = 1500
_FILTERS = {
    "all": "all prompts",
    "cut": "where a response was cut",
    "empty": "where a response is empty",
}
_ORDERS = {"given": "as in the data", "spread": "largest difference in reward first"}

Answers = Mapping[str, SampledResponse]


def section(
    runs: Sequence[ReportedRun],
    looks: Sequence[RunStyle],
    *,
    limit: int,
    most_bytes: int = 1_400_000,
) -> Section:
    """The part of the page.

    Args:
      runs, looks: as for the summary.
      limit: the most prompts that are shown, spread evenly; 0 shows no text at all, here
        or in any file.
      most_bytes: of the page, for all of them.
    """
    answers = by_prompt(runs)
    if limit == 0:
        told = "Texts were left out when this report was made (--samples 0)."
        return Section(_NAME, _TITLE, element("p", told, class_="note"))
    # Where logged responses are a row of their own, they stand there already.
    show_logged = all(run.is_policy for run in runs)
    while True:
        chosen = spread_evenly(list(answers), limit)
        articles = [
            _article(number, answers[prompt], looks, show_logged=show_logged)
            for number, prompt in enumerate(chosen, start=1)
        ]
        size = sum(len(one.encode("utf-8", "xmlcharrefreplace")) for one in articles)
        if size <= most_bytes:
            break
        limit = min(len(chosen) - 1, len(chosen) * most_bytes // size)
    shown = element("div", lines(*articles), id="sample-list")
    body = lines(
        element("p", _told(answers, chosen, runs)),
        _controls(len(articles)),
        shown,
        element(
            "p", "No prompt fits the search.", class_="note", id="nothing", hidden=True
        ),
    )
    picked = [
        (look, answers[prompt][look.label])
        for prompt in chosen
        for look in looks
        if look.label in answers[prompt]
    ]
    rows = [
        (look.label, x.prompt_id, x.sample, harmless_cell(x.prompt), harmless_cell(x.response), x.tokens,
         str(x.cut).lower(), *_first(x))
        for look, x in picked
    ]  # fmt: skip
    columns = ("run", "prompt_id", "sample", "prompt", "response", "tokens", "cut")
    tables = {"samples": Table((*columns, "reward_name", "reward"), rows)}
    data = [
        {"prompt_id": prompt, "prompt": next(iter(answers[prompt].values())).prompt}
        | {"responses": {x: one.response for x, one in answers[prompt].items()}}
        for prompt in chosen
    ]
    return Section(_NAME, _TITLE, body, tables, {}, data)


def by_prompt(runs: Sequence[ReportedRun]) -> dict[str, dict[str, SampledResponse]]:
    """The first response of each run to each prompt, by prompt and label."""
    found: dict[str, dict[str, SampledResponse]] = {}
    for run in runs:
        for one in run.evaluated.responses:
            found.setdefault(one.prompt_id, {}).setdefault(run.label, one)
    return found


def spread_evenly(names: Sequence[str], limit: int) -> list[str]:
    """At most so many of some names, from the whole of their order."""
    if len(names) <= limit:
        return list(names)
    if limit == 0:
        return []
    places = np.linspace(0, len(names) - 1, limit).round().astype(int)
    return [names[place] for place in np.unique(places)]


def _told(answers: Mapping, chosen: Sequence[str], runs: Sequence[ReportedRun]) -> str:
    some = counted(len(chosen), "prompt")
    which = f"All {some}" if len(chosen) == len(answers) else (
        f"{some} of {len(answers):,}, spread evenly over them"
    )  # fmt: skip
    most = max((x.sample for run in runs for x in run.evaluated.responses), default=0)
    first = f" Of {most + 1} responses of a run to a prompt this is the first." * (
        most > 0
    )
    return (
        f"{which}, and what each run answered.{first} Of a text of more than "
        f"{MOST_CHARACTERS:,} characters the rest is left out. All responses are in the "
        "runs' own folders, in evaluations/NAME/responses.jsonl."
    )


def _controls(count: int) -> Html:
    """What a script makes work; it stays hidden where none runs."""
    search = element(
        "input", id="search", type="search", autocomplete="off", spellcheck="false",
        placeholder="words in prompts and responses",
    )  # fmt: skip
    return element(
        "form",
        element("div", element("label", "Search", for_="search"), search, class_="field"),
        _choice("filter", "Show", _FILTERS),
        _choice("order", "Order", _ORDERS),
        element(
            "p", f"{count} of {counted(count, 'prompt')}", id="count", role="status",
            aria_live="polite",
        ),
        id="controls", role="search", aria_label="Samples", hidden=True,
    )  # fmt: skip


def _choice(name: str, title: str, options: Mapping[str, str]) -> Html:
    inside = [element("option", text, value=value) for value, text in options.items()]
    label = element("label", title, for_=name)
    return element("div", label, element("select", inside, id=name), class_="field")


def _article(
    number: int, answers: Answers, looks: Sequence[RunStyle], *, show_logged: bool
) -> Html:
    first = next(iter(answers.values()))
    rewards = [_first(x)[1] for x in answers.values() if x.rewards]
    name = f"sample-{number}"
    title = element("h3", f"Prompt {number}", id=name)
    cards = [
        _card(look, answers[look.label]) for look in looks if look.label in answers
    ]
    for logged in first.references[: 1 if show_logged else 0]:
        said = element("h4", "what was logged")
        cards.append(element("div", said, _text(logged), class_="card logged"))
    return element(
        "article",
        title,
        _text(first.prompt, class_="prompt"),
        element("div", cards, class_="cards"),
        class_="sample",
        aria_labelledby=name,
        data_spread=f"{max(rewards) - min(rewards):.6g}" if rewards else "0",
        data_cut=any(x.cut for x in answers.values()),
        data_empty=any(x.empty for x in answers.values()),
    )


def _card(look: RunStyle, response: SampledResponse) -> Html:
    facts = [counted(response.tokens, "token")]
    if response.rewards:
        name, value = _first(response)
        facts.insert(0, f"{name} {value_text(figure('reward'), value)}")
    if response.cut:
        facts.append("cut")
    said = element("p", " · ".join(facts), class_="facts")
    empty = element("p", "(empty)", class_="facts")
    text = empty if response.empty else _text(response.response)
    return element("div", element("h4", look.name()), text, said, class_="card")


def _text(text: str, class_: str = "") -> Html:
    left = len(text) - MOST_CHARACTERS
    more = None
    if left > 0:
        text = text[:MOST_CHARACTERS]
        more = element("span", f" … {left:,} more characters", class_="hint")
    names = f"text {class_}".strip()
    # It may be of any script, and its direction must not leak into the page.
    return element("div", text, more, class_=names, dir="auto")


def _first(response: SampledResponse) -> tuple[str | None, float | None]:
    return next(iter(response.rewards.items()), (None, None))
