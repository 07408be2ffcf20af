"""Our metrics as T5X merges them: `clu.metrics.Metric`. Only T5X's runs need clu."""

import flax.struct
import jax
import jax.numpy as jnp
from clu import metrics as clu_metrics

from dro_jax import metrics as metrics_lib


@flax.struct.dataclass
class StackedMetric(clu_metrics.Metric):
    """One of `dro_jax.metrics`, its fields in one array.

    T5X starts the merge of its microbatches from an array of zeros: the empty metric.

    Attributes:
      fields: ``[K]`` float32, the metric's fields in their order.
      kind: the metric's class.
    """

    fields: jax.Array
    kind: type = flax.struct.field(pytree_node=False)

    def merge(self, other: "StackedMetric") -> "StackedMetric":
        """The metric of both parts together."""
        return _stack(self._metric().merge(other._metric()))

    def compute(self) -> float:
        """The metric's value."""
        return self._metric().compute()

    def _metric(self) -> metrics_lib.Metric:
        return self.kind(*self.fields)


def to_t5x(metrics: metrics_lib.Metrics) -> dict[str, clu_metrics.Metric]:
    """A step's metrics as T5X takes them."""
    return {name: _stack(metric) for name, metric in metrics.items()}


def _stack(metric: metrics_lib.Metric) -> StackedMetric:
    leaves = [jnp.asarray(x, jnp.float32) for x in jax.tree.leaves(metric)]
    return StackedMetric(fields=jnp.stack(leaves), kind=type(metric))
