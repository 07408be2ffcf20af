"""The certificate as text: Markdown tables, and whether it is reached."""

import dataclasses
from collections.abc import Callable, Sequence

from dro_jax.certificate.certify import Figures, FormReport
from dro_jax.certificate.methods import METHODS
from dro_jax.certificate.problem import CONDITIONS, ResponseSpace
from dro_jax.certificate.source_study import DATA
from dro_jax.certificate.value_study import LOGGING

_CLEAN = CONDITIONS[:2]  # without noise
_ON_VALUES = (
    "On-policy, where responses are weighted by the policy as it stands, V is a mere "
    "baseline and any V leads to π*. On logged data, the reference's own included, a V "
    "that is dropped or wrong moves the minimum away from π*. DRO-P's variance takes up "
    "one constant for the whole batch, not one a prompt: it is DRO with one V, and exact "
    "once V*(x) is subtracted from the rewards. With one V the loss can have several "
    "minima: where those two rows differ, they stopped in different ones."
)


_ON_SOURCES = (
    "V learnt leaves no residual at π*, whoever logged. A given V that is off does, and "
    "whose responses are read decides where the policy stops: on its own samples at π* "
    "all the same, where V is a mere baseline; on a log elsewhere, and a mixture of both "
    "is in between. V̂ of n samples lies below V* on average (the first column, exact), "
    "by some τ χ²(π*‖π_ref)/2n; KL is the mean of eight draws of the samples. V of a "
    "group's rewards is of the very responses that it is subtracted from, so it is no "
    "baseline, and moves the policy on its own samples too."
)
_ON_ROUNDS = (
    "Each round ends before the reference is moved to its policy. π_k ∝ π_ref exp(k r/τ) "
    "is what theory predicts of the k-th: every move spends another budget of KL, so that "
    "a reference that is moved bounds a round's step and not the policy. V of the first "
    "reference is too low from the second round on, which only samples alone do not mind."
)


@dataclasses.dataclass(frozen=True)
class Claim:
    """What is to hold of a method in the conditions without noise.

    Attributes:
      form: of its policy.
      method: its name.
      kl: the largest KL(π‖π*) that was reached, nats.
      value_error: the largest |V − V*|.
      leaked: the largest mass outside the space.
      bounds: what the three must lie below.
    """

    form: str
    method: str
    kl: float
    value_error: float
    leaked: float
    bounds: tuple[float, float, float]

    @property
    def holds(self) -> bool:
        """Whether all lie below their bounds."""
        reached = self.kl, self.value_error, self.leaked
        return all(x < bound for x, bound in zip(reached, self.bounds, strict=True))


_BOUNDS = {"table": (1e-3, 1e-2, 1e-3), "t5": (0.05, 0.1, 0.05)}


def claims(report: FormReport) -> list[Claim]:
    """What the certificate is to show of DRO, DRO-V and RPO, as far as they were trained."""
    found = []
    for name in ("DRO", "DROV", "RPO"):
        if name not in report.results:
            continue
        figures = [report.results[name][condition] for condition in _CLEAN]
        found.append(
            Claim(
                form=report.form,
                method=name,
                kl=max(f.kl_to_optimum for f in figures),
                value_error=max(f.value_error for f in figures),
                leaked=max(f.leaked for f in figures),
                bounds=_BOUNDS[report.form],
            )
        )
    return found


def markdown(reports: Sequence[FormReport]) -> str:
    """All tables, for a terminal or a document."""
    lines = ["# Certificate", "", _setting(), ""]
    return "\n".join(lines + [line for report in reports for line in _sections(report)])


def _setting() -> str:
    space = ResponseSpace()
    on, off, noisy = CONDITIONS
    return (
        f"{space.num_prompts} prompts with all {space.num_responses} responses of at most "
        f"{space.max_length} tokens over {space.num_letters} letters; rewards of mean 0 "
        "and variance 1 under π_ref; τ = 1. Each objective is trained in exact "
        "expectation under the logging policy μ (one that learns from what it samples: "
        "under its own policy as it stands), so nothing is sampled and optimisation "
        f"is the only error. {on}: μ = π_ref. {off}: μ ∝ √π_ref exp(−r), worse responses "
        f"oftener. {noisy}: μ = π_ref, each response logged with noise ±ε of variance 1 "
        "on its reward. KL and E[r] are means over prompts."
    )


def _sections(report: FormReport) -> list[str]:
    title = {"table": "a table of logits", "t5": "a small T5"}[report.form]
    values = ", ".join(f"{v:.3f}" for v in report.optimal_values)
    lines = [
        f"## The policy is {title}",
        "",
        _training(report) + f" V* = {values}.",
    ]
    if report.form == "t5":
        lines.append(
            "The reference is what this T5 learnt of the table's by NLL, renormalised; "
            f"it leaks {report.reference_leaked:.0e} of its mass to padding, outside the "
            "space. So may a policy, where the constant that it is given in place of "
            "V*(x) is too large (DRO-P's for some prompts, RPO's under noise). Figures "
            "are of what is left, renormalised; with a leak of 1% none counts as π*."
        )
    lines += ["", *_optimum_table(report), "", *_reward_table(report), ""]
    lines += [*_verdict(report), ""]
    if report.values:
        lines += [*_value_table(report), ""]
    if report.sources:
        lines += [*_source_table(report), ""]
    if report.rounds:
        lines += [*_round_table(report), ""]
    return lines


def _training(report: FormReport) -> str:
    training = report.training
    return (
        f"{training.steps} steps of Adam, its rate from {training.learning_rate:g} to 0 "
        "along a cosine, each with the exact gradient."
    )


def _optimum_table(report: FormReport) -> list[str]:
    known = {name: dict.fromkeys(CONDITIONS, f) for name, f in report.known.items()}
    rows = [
        [name, "", *_cells(of, lambda f: _number(f.kl_to_optimum)), "", "", "", ""]
        for name, of in {**known, "μ": report.logged}.items()
    ]
    for name, of in report.results.items():
        method = METHODS[name]
        rows.append(
            [
                name,
                method.description,
                *_cells(of, lambda f: _number(f.kl_to_optimum)),
                method.converges_to,
                *_cells(of, lambda f: _number(f.kl_from_limit)),
            ]
        )
    header = ["KL(π‖π*), nats", "settings", *CONDITIONS, "converges to"]
    distances = [f"KL(that‖π), {condition}" for condition in CONDITIONS]
    return _table(header + distances, rows)


def _reward_table(report: FormReport) -> list[str]:
    known = {name: dict.fromkeys(CONDITIONS, f) for name, f in report.known.items()}
    everything = {**known, "μ": report.logged, **report.results}
    columns = {
        "E[r]": lambda f: _places(f.reward),
        "KL(π‖π_ref)": lambda f: _places(f.kl_to_reference),
        "max abs(V − V*)": lambda f: _number(f.value_error),
    }
    if report.form == "t5":
        columns["leaked"] = lambda f: _number(f.leaked)
    rows = [
        [name, *(cell for write in columns.values() for cell in _cells(of, write))]
        for name, of in everything.items()
    ]
    header = [f"{what}, {c}" for what in columns for c in CONDITIONS]
    return _table(["", *header], rows)


def _value_table(report: FormReport) -> list[str]:
    rows = [
        [row.name, *(_number(row.kl_to_optimum[name]) for name in LOGGING)]
        for row in report.values
    ]
    return [*_table(["KL(π‖π*), nats, by V", *LOGGING], rows), "", _ON_VALUES]


def _source_table(report: FormReport) -> list[str]:
    rows = []
    for row in report.sources:
        error = "" if row.value_error is None else _places(row.value_error)
        rows.append([row.name, error, *map(_number, row.kl_to_optimum.values())])
    header = ["KL(π‖π*), nats, by source of V", "E[V̂] − V*", *DATA]
    return [*_table(header, rows), "", _ON_SOURCES]


def _round_table(report: FormReport) -> list[str]:
    rounds = range(1, len(report.rounds[0].rewards) + 1)
    rows = [
        [
            row.name,
            *map(_number, row.kl_to_predicted),
            *map(_places, row.rewards),
            *map(_places, row.kl_to_reference),
        ]
        for row in report.rounds
    ]
    header = [
        f"{what}, k = {k}"
        for what in ("KL(π_k‖π_ref exp(k r/τ)/Z)", "E[r]", "KL(π_k‖π_ref)")
        for k in rounds
    ]
    return [*_table(["source of V; responses", *header], rows), "", _ON_ROUNDS]


def _verdict(report: FormReport) -> list[str]:
    lines = []
    for condition in CONDITIONS:
        shared = [
            name for name, of in report.results.items() if of[condition].is_optimum
        ]
        names = ", ".join(shared) or "none"
        lines.append(f"- within 0.001 nats of π*, {condition}: {names}")
    for claim in claims(report):
        lines.append(
            f"- {claim.method} without noise: KL(π‖π*) {_number(claim.kl)} "
            f"(bound {claim.bounds[0]:g}), max |V − V*| {_number(claim.value_error)} "
            f"(bound {claim.bounds[1]:g}), leaked {_number(claim.leaked)} (bound "
            f"{claim.bounds[2]:g}): {'reached' if claim.holds else 'NOT REACHED'}"
        )
    return lines


def _cells(of: dict[str, Figures], write: Callable[[Figures], str]) -> list[str]:
    """One cell a condition."""
    return [write(of[condition]) for condition in CONDITIONS]


def _places(x: float) -> str:
    """To three places, without a negative zero."""
    return f"{round(x, 3) + 0.0:.3f}"


def _number(x: float | None) -> str:
    """To four places, or the power of ten where those show nothing."""
    if x is None:
        return ""
    if x < 1e-9:
        return "0"
    return f"{x:.4f}" if x >= 5e-4 else f"{x:.0e}"


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
