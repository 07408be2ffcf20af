"""Trips of loops: as the compiler says them, or as their counters do."""

import pytest

from dro_jax.planning.hlo_text import Program
from dro_jax.planning.loops import trip_count

_LOOP = """\
%cond (s: (s32[], f32[4])) -> pred[] {{
  %s = (s32[], f32[4]{{0}}) parameter(0)
  %i = s32[] get-tuple-element(%s), index=0
  %limit = s32[] constant({limit})
  ROOT %lt = pred[] compare({sides}), direction={direction}
}}

%body (t: (s32[], f32[4])) -> (s32[], f32[4]) {{
  %t = (s32[], f32[4]{{0}}) parameter(0)
  %j = s32[] get-tuple-element(%t), index=0
  %x = f32[4]{{0}} get-tuple-element(%t), index=1
  %step = s32[] constant({step})
  %k = s32[] add(%j, %step)
  ROOT %out = (s32[], f32[4]{{0}}) tuple(%k, %x)
}}

ENTRY %main (x.0: f32[4]) -> (s32[], f32[4]) {{
  %x.0 = f32[4]{{0}} parameter(0)
  %zero = s32[] constant({begin})
  %begin = s32[] copy(%zero)
  %state = (s32[], f32[4]{{0}}) tuple(%begin, %x.0)
  ROOT %loop = (s32[], f32[4]{{0}}) while(%state), condition=%cond, body=%body{known}
}}
"""


def trips(**changes):
    settings = {
        "limit": 24, "begin": 0, "step": 1, "direction": "LT", "sides": "%i, %limit",
        "known": "",
    } | changes  # fmt: skip
    program = Program.parse(_LOOP.format(**settings))
    main = program.computations["main"]
    return trip_count(program, main, main["loop"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 24),
        ({"begin": 3}, 21),
        ({"step": 2}, 12),
        ({"step": 5}, 5),
        ({"direction": "LE"}, 25),
        ({"direction": "NE"}, 24),
        ({"sides": "%limit, %i", "direction": "GT"}, 24),
        ({"begin": 23, "limit": 0, "step": -1, "direction": "GE"}, 24),
        ({"begin": 24, "limit": 0, "step": -1, "direction": "GT"}, 24),
        ({"begin": 30}, 0),
        ({"known": ', backend_config={"known_trip_count":{"n":"7"}}'}, 7),
        ({"limit": "inf"}, None),
        ({"step": 0}, None),
    ],
)
def test_trips(changes, expected):
    assert trips(**changes) == expected
