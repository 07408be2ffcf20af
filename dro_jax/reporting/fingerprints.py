"""What data, reference, checkpoint and code the figures come from, by digests."""

import hashlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dro_jax
from dro_jax.reporting.html import element, lines
from dro_jax.reporting.reported_run import ReportedRun
from dro_jax.reporting.section import Section, Table
from dro_jax.reporting.style import RunStyle
from dro_jax.reporting.tables import Column, table

_DIGITS = 16


def section(runs: Sequence[ReportedRun], looks: Sequence[RunStyle]) -> Section:
    """The part of the page.

    Args:
      runs, looks: as for the summary.
    """
    facts = [facts_of(run) for run in runs]
    names = list(dict.fromkeys(name for found in facts for name in found))
    shared = {name: x for name in names if (x := _shared(name, facts)) is not None}
    code = {"dro_jax": dro_jax.__version__, "digest of its code": code_digest()}
    parts = [
        element(
            "p",
            "What the figures depend on, in words and digests: two runs that agree in a "
            "row were given the same. Training data and reference are as the newest "
            "checkpoint of each run records them.",
        )
    ]
    columns = [Column("what"), Column("value", is_text=True)]
    same = [[name, _code(value)] for name, value in shared.items()]
    if same:
        parts.append(table("The same for all", columns, same, class_="settings"))
    unlike = [name for name in names if name not in shared]
    if unlike:
        rows = [[name, *(_code(found.get(name)) for found in facts)] for name in unlike]
        of_runs = [Column(look.name(), is_text=True) for look in looks]
        parts.append(
            table("Different", [columns[0], *of_runs], rows, class_="settings")
        )
    told = [[name, _code(value)] for name, value in code.items()]
    parts.append(
        table("The code that made this report", columns, told, class_="settings")
    )
    rows = [
        (run.label, name, value)
        for run, found in zip(runs, facts, strict=True)
        for name, value in found.items()
    ]
    data = {
        "code": code,
        "runs": {r.label: x for r, x in zip(runs, facts, strict=True)},
    }
    return Section(
        "fingerprints", "Data, reference and code", lines(*parts),
        {"fingerprints": Table(("run", "what", "value"), rows)}, {}, data,
    )  # fmt: skip


def _shared(name: str, facts: Sequence[Mapping[str, str]]) -> str | None:
    """What all rows have there that could: some have no run of their own."""
    kind = name.partition(":")[0]
    able = [x for x in facts if any(other.startswith(f"{kind}:") for other in x)]
    found = {x.get(name) for x in able}
    return found.pop() if len(found) == 1 else None


def facts_of(run: ReportedRun) -> dict[str, str]:
    """A run's data, reference and settings, and how it was evaluated, by name."""
    found = {f"training: {name}": value for name, value in run.identity.items()}
    for name, value in _flat(run.evaluated.settings):
        found[f"evaluation: {name}"] = value
    return found


def code_digest() -> str:
    """A digest of the sources of the package."""
    folder = pathlib.Path(dro_jax.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:_DIGITS]


def _flat(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name} ")
        elif value is not None:
            yield f"{before}{name}".replace("_", " "), str(value)


def _code(value: str | None):
    if value is None:
        return element("td", "–", class_="text none")
    return element("td", element("code", value), class_="text")
