"""The objectives of this package, found by what it exports: nothing else lists them."""

import inspect

from dro_jax import objectives
from dro_jax.objectives.interface import Objective


def kinds() -> dict[str, type[Objective]]:
    """Every exported objective by its loss's name, `dro_v` for DROV, in that order.

    The name is also that of its gin file, of its section in docs/objectives.md and of
    its formula in the tests, all of which fail for one that they do not find.

    Raises:
      TypeError: an objective is exported without a function of its name.
    """
    functions = {
        name.replace("_", ""): name
        for name, found in vars(objectives).items()
        if inspect.isfunction(found)
    }
    found = {}
    for kind in vars(objectives).values():
        if not _is_objective(kind):
            continue
        plain = kind.__name__.lower()
        if plain not in functions:
            raise TypeError(
                f"objectives.{kind.__name__} is exported without its loss: a function "
                f"whose name is {plain!r} but for underscores"
            )
        found[functions[plain]] = kind
    return found


def of_policies() -> dict[str, type[Objective]]:
    """Those of :func:`kinds` that train a policy, and no reward model."""
    return {name: kind for name, kind in kinds().items() if not kind().needs.scores}


def _is_objective(found) -> bool:
    """Not what several objectives share, which cannot be called."""
    if not (inspect.isclass(found) and issubclass(found, Objective)):
        return False
    return not inspect.isabstract(found)
