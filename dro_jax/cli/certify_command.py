"""`dro-jax certify`."""

import dataclasses
import functools
import sys

from dro_jax.certificate import plot, report
from dro_jax.certificate.certify import FORMS, certify
from dro_jax.certificate.methods import choose
from dro_jax.certificate.problem import ResponseSpace
from dro_jax.cli.outputs import Output
from dro_jax.errors import ConfigError
from dro_jax.paths import make_folder


def run(arguments) -> None:
    """Train, print the tables, write them as Markdown, JSON and PNG."""
    if arguments.steps is not None and arguments.steps < 1:
        raise ConfigError(f"--steps must be at least 1, got {arguments.steps}")
    if arguments.seed < 0:
        raise ConfigError(f"--seed must be 0 or more, got {arguments.seed}")
    names = arguments.objectives and arguments.objectives.split(",")
    methods = choose(names)
    output = make_folder(arguments.output_dir, "--output_dir")
    files = {
        kind: Output.at("--output_dir", output / f"certificate.{kind}")
        for kind in ("md", "json", "png")
    }
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
    files["md"].write_text(text)
    files["json"].write_json(_content(reports, arguments.seed))
    files["png"].write_picture(functools.partial(plot.draw, reports))
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
