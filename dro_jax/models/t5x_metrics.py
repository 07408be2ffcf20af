"""Our metrics as T5X sums them up: `clu.metrics.Metric`. Only T5X's runs need clu."""

import flax.struct
import jax
import jax.numpy as jnp
from clu import metrics as clu_metrics

from dro_jax import metrics as metrics_lib


@flax.struct.dataclass
class SummedMetric(clu_metrics.Metric):
    """One of `dro_jax.metrics`, its sums in one array, as T5X's microbatches need it.

    Attributes:
      sums: ``[K]`` float32, the metric's fields in their order.
      kind: the metric's class.
    """

    sums: jax.Array
    kind: type = flax.struct.field(pytree_node=False)

    def merge(self, other: "SummedMetric") -> "SummedMetric":
        """The metric of both parts together."""
        return self.replace(sums=self.sums + other.sums)

    def compute(self) -> float:
        """The metric's value."""
        return self.kind(*self.sums).compute()


def to_t5x(metrics: metrics_lib.Metrics) -> dict[str, clu_metrics.Metric]:
    """A step's metrics as T5X takes them."""
    return {
        name: SummedMetric(
            sums=jnp.stack(
                [jnp.asarray(x, jnp.float32) for x in jax.tree.leaves(metric)]
            ),
            kind=type(metric),
        )
        for name, metric in metrics.items()
    }
