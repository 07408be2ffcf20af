"""Where arrays live: a ('data', 'model') mesh and T5X's logical axis rules."""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util
from flax.linen import partitioning
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from dro_jax.data.interface import WHOLE, Shard
from dro_jax.errors import ConfigError
from dro_jax.models.layer_stacking import layers_of
from dro_jax.models.model import FeedbackModel
from dro_jax.models.networks import Batch, Params
from dro_jax.models.t5_stacks import PARAM_SCAN_AXIS
from dro_jax.plurals import counted
from dro_jax.training.host_rows import host_shard, put_rows

DATA, MODEL = "data", "model"
Rules = tuple[tuple[str, str | None], ...]
Shardings = Any  # a tree of NamedSharding


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How a run is spread over devices.

    Attributes:
      data: devices over which a batch is split; default all that `model` leaves.
      model: devices over which heads, feed-forward layers and vocabulary are split.
      fsdp: also split parameters and optimiser state over `data` (T5X's 2D parameter
        partitioning); each layer's are gathered when it runs.
      shard_activations: also split the embedding axis of activations over `model`
        (T5X's 2D activation partitioning).
    """

    data: int | None = None
    model: int = 1
    fsdp: bool = False
    shard_activations: bool = False

    def build(self, devices: Sequence[jax.Device] | None = None) -> "Partitioner":
        """The partitioner over these devices, by default all.

        Raises:
          ConfigError: there are fewer devices than that, or, over several hosts, more.
        """
        devices = list(jax.devices() if devices is None else devices)
        model, data = self.model, self.data
        if data is None and model > 0 and len(devices) % model == 0:
            data = len(devices) // model
        if not data or data < 1 or model < 1 or data * model > len(devices):
            raise ConfigError(
                f"a mesh of data = {self.data} by model = {model} does not fit "
                f"{len(devices)} devices: MeshConfig.data · MeshConfig.model (gin: "
                "DATA_PARALLEL, MODEL_PARALLEL) must divide up what is there"
            )
        if jax.process_count() > 1 and data * model < len(devices):
            raise ConfigError(
                f"a mesh of {data} by {model} leaves some of the {len(devices)} devices "
                "idle, which is possible on a single host only"
            )
        mesh = jax.make_mesh(
            (data, model),
            (DATA, MODEL),
            devices=devices[: data * model],
            # The compiler places what no constraint names, as under T5X.
            axis_types=(AxisType.Auto, AxisType.Auto),
        )
        rules = axis_rules(fsdp=self.fsdp, shard_activations=self.shard_activations)
        return Partitioner(mesh, rules)


def axis_rules(*, fsdp: bool = False, shard_activations: bool = False) -> Rules:
    """T5X's standard logical axis rules; the first free mesh axis of a name is taken."""
    # Rules are tried in their order, and a mesh axis is used once in an array: of a
    # kernel ("embed", "mlp") "mlp" takes `model`, and only then "embed" may take `data`.
    # With fsdp activations ("batch", …, "embed") have given `data` to their rows by then.
    embed = [("embed", MODEL)] * shard_activations + [("embed", DATA)] * fsdp
    return (
        ("batch", DATA),
        ("vocab", MODEL),
        ("mlp", MODEL),
        ("heads", MODEL),
        ("joined_kv", MODEL),
        *embed,
        ("embed", None),
        ("kv", None),
        ("relpos_buckets", None),
        ("length", None),
        ("layers", None),
        ("stack", None),
        ("mlp_activations", None),
    )


class Partitioner:
    """Places a run's arrays on a mesh.

    Args:
      mesh: with axes 'data' and 'model'.
      rules: logical axis rules.
    """

    def __init__(self, mesh: Mesh, rules: Rules):
        self.mesh = mesh
        self._rules = rules
        self.replicated = NamedSharding(mesh, PartitionSpec())
        self.by_row = NamedSharding(mesh, PartitionSpec(DATA))

    @contextlib.contextmanager
    def context(self) -> Iterator[None]:
        """Where steps are traced and run: constraints on activations take effect."""
        # Outside of it the networks' constraints do nothing, and say nothing: where
        # activations lie would be the compiler's guess.
        with jax.set_mesh(self.mesh), partitioning.axis_rules(self._rules):
            yield

    def params(self, shapes: Any, axes: Any) -> Shardings:
        """A sharding for each parameter.

        Args:
          shapes: a tree of arrays or of their shapes.
          axes: the same tree of logical axis names, leaves `…_axes` as T5X's.
        """
        names = partitioning.get_axis_names(axes)
        flat_names = traverse_util.flatten_dict(names)
        return traverse_util.unflatten_dict(
            {
                path: self._fitting(flat_names[path], leaf.shape)
                for path, leaf in traverse_util.flatten_dict(shapes).items()
            }
        )

    def like_params(self, tree: Any, params: Any, shardings: Shardings) -> Shardings:
        """Shardings for a tree that holds copies or factors of parameters.

        A leaf whose path ends in a parameter's path is placed like that parameter where
        the shapes agree, and like the axes that are left where it is a mean over one
        axis (Adafactor's factors). The same holds for a leaf with a stacked parameter's
        layers first and its heads joined, as `per_layer` keeps them. Everything else is
        replicated.

        Args:
          tree: an optimiser state, or its shapes.
          params: parameters or their shapes.
          shardings: the parameters' shardings.
        """
        named = _with_names(params)
        layers = layers_of({"/".join(path): leaf.shape for path, leaf in named})
        of_param = {}
        for (path, leaf), sharding in zip(
            named, jax.tree.leaves(shardings), strict=True
        ):
            forms = [(leaf.shape, _axes(sharding.spec, leaf.shape))]
            if layer := layers.get("/".join(path)):
                forms.append(_layers_first(*forms[0], layer.shape))
            of_param[path] = forms

        def place(path, leaf):
            # An optimiser wraps the tree of parameters in tuples and states of its own,
            # so that a parameter's path is the end of its copies' paths.
            for start in range(len(path)):
                if path[start:] in of_param:
                    spec = _spec_like(leaf.shape, of_param[path[start:]])
                    return NamedSharding(self.mesh, spec)
            return self.replicated

        placed = [place(path, leaf) for path, leaf in _with_names(tree)]
        return jax.tree.unflatten(jax.tree.structure(tree), placed)

    def num_rows(self, batch_size: int) -> int:
        """The least rows that devices share out evenly, of at least so many."""
        parts = self.mesh.shape[DATA]
        return -(-batch_size // parts) * parts

    def shard(self, num_rows: int) -> Shard:
        """Which part of a batch of so many rows this host's devices hold."""
        return host_shard(self.by_row, num_rows)

    def put_batch(
        self, batch: dict[str, np.ndarray], shard: Shard = WHOLE
    ) -> dict[str, jax.Array]:
        """The rows of a global batch on their devices; each host places its own.

        Args:
          batch: all rows, or those of a part.
          shard: which part of the rows these are, of how many.
        """
        return {
            name: put_rows(self.by_row, rows, shard) for name, rows in batch.items()
        }

    def check_batch_size(self, batch_size: int, num_microbatches: int = 1) -> None:
        """Refuse a batch that does not divide over microbatches and devices.

        Raises:
          ConfigError: it does not.
        """
        parts = self.mesh.shape[DATA] * num_microbatches
        if batch_size % parts:
            raise ConfigError(
                f"BATCH_SIZE = {batch_size} rows do not divide over "
                f"{counted(self.mesh.shape[DATA], 'data-parallel device')} with "
                f"NUM_MICROBATCHES = {num_microbatches}: use a multiple of {parts}"
            )

    def _fitting(self, names: Sequence[str], shape: Sequence[int]) -> NamedSharding:
        spec = nn.logical_to_mesh_axes(tuple(names), self._rules)
        # An axis that the devices do not divide stays whole.
        kept = [
            axis if axis is None or size % self.mesh.shape[axis] == 0 else None
            for axis, size in zip(spec, shape, strict=True)
        ]
        return NamedSharding(self.mesh, PartitionSpec(*kept))


@dataclasses.dataclass(frozen=True)
class ParamLayout:
    """The parameter tree of a model on a mesh.

    Attributes:
      shapes: a tree of `jax.ShapeDtypeStruct`.
      shardings: the same tree of `NamedSharding`.
    """

    shapes: Params
    shardings: Shardings

    @classmethod
    def of(
        cls, model: FeedbackModel, batch: Batch, partitioner: Partitioner
    ) -> "ParamLayout":
        """That of a model for batches shaped as `batch`."""
        # The key is made within: devices that are planned for can make none.
        shapes, axes = jax.eval_shape(
            lambda batch: model.init(jax.random.key(0), batch), batch
        )
        return cls(shapes, partitioner.params(shapes, axes))


def _with_names(tree):
    return [
        (tuple(_name(key) for key in path), leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    ]


def _name(key) -> str:
    return str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key))))


def _spec_like(shape, forms) -> PartitionSpec:
    """Of a leaf that is a parameter in one of its forms, or lacks one axis of that."""
    for form, axes in forms:
        if shape == form:
            return PartitionSpec(*axes)
    for form, axes in forms:
        for left_out in range(len(form)):
            if shape == form[:left_out] + form[left_out + 1 :]:
                return PartitionSpec(*axes[:left_out], *axes[left_out + 1 :])
    return PartitionSpec()


def _axes(spec, shape):
    return [*spec, *[None] * (len(shape) - len(spec))]


def _layers_first(shape, axes, layer_shape):
    """A stacked parameter's shape and mesh axes as :func:`per_layer` holds it."""
    sizes, axes = list(shape), list(axes)
    count, first = sizes.pop(PARAM_SCAN_AXIS), axes.pop(PARAM_SCAN_AXIS)
    joined = []
    for size in layer_shape:
        # Of joined axes the first is the slower: its split is one of the whole.
        joined.append(axes.pop(0))
        part = sizes.pop(0)
        while part < size:
            part *= sizes.pop(0)
            axes.pop(0)
    return (count, *layer_shape), [first, *joined]
