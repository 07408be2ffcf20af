"""Contests with texts that are hard to write down, and their key."""

from dro_jax.judges.blinding import Contest, blinded
from dro_jax.judges.interface import Pair

HARD = (
    "</script><script>document.title = 'broken'</script>",
    "<img src=x onerror=\"document.title='broken'\"><!-- <script>",
    '=HYPERLINK("http://127.0.0.1:9/x","click")',
    "+1\n-2\r\n@SUM(A1)\t\"quoted\", 'and'; not",
    "{{SCRIPT}} {{DATA}} \u2028 \u202e עברית 日本語 🙂",
    "\tindented = cell\n\n  twice",
    "'single quote",
    "-",
)


def contests(count=8, runs=("dro_v", "nll")):
    """Pairs of different hard texts."""
    return [
        Contest(
            *runs,
            f"{n:016x}",
            Pair(
                f"prompt {n}: {HARD[n % len(HARD)]}",
                HARD[(n + 1) % len(HARD)],
                HARD[(n + 3) % len(HARD)],
            ),
        )
        for n in range(count)
    ]


def key(count=8, seed=0):
    """Their key."""
    return blinded(contests(count), seed)
