"""`dro-jax certify`."""

import dataclasses
import json
import pathlib
import sys

from dro_jax.certificate import plot, report
from dro_jax.certificate.certify import FORMS, certify
from dro_jax.certificate.methods import choose
from dro_jax.certificate.problem import ResponseSpace
from dro_jax.errors import ConfigError


def run(arguments) -> None:
    """Train, print the tables, write them as Markdown, JSON and PNG."""
    if arguments.steps is not None and arguments.steps < 1:
        raise ConfigError(f"--steps must be at least 1, got {arguments.steps}")
    if arguments.seed < 0:
        raise ConfigError(f"--seed must be 0 or more, got {arguments.seed}")
    names = arguments.objectives and arguments.objectives.split(",")
    methods = choose(names)
    output = pathlib.Path(arguments.output_dir)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output_dir {output} cannot be made: {error}") from error
    forms = FORMS if arguments.form == "both" else (arguments.form,)
    reports = [
        certify(
            form,
            methods,
            seed=arguments.seed,
            steps=arguments.steps,
            progress=_progress,
        )
        for form in forms
    ]
    text = report.markdown(reports)
    print(text)
    (output / "certificate.md").write_text(text + "\n", "utf-8")
    content = _content(reports, arguments.seed)
    written = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
    (output / "certificate.json").write_text(written + "\n", "utf-8")
    plot.draw(reports, str(output / "certificate.png"))
    seconds = sum(r.seconds for r in reports)
    print(f"{seconds:.0f} s in all. Written: {output}/certificate.md, .json and .png")


def _content(reports, seed: int) -> dict:
    space = ResponseSpace()
    return {
        "seed": seed,
        "space": dataclasses.asdict(space) | {"num_responses": space.num_responses},
        "claims": [
            dataclasses.asdict(claim) | {"holds": claim.holds}
            for one in reports
            for claim in report.claims(one)
        ],
        "forms": {one.form: dataclasses.asdict(one) for one in reports},
    }


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
