"""Data parallelism: every pmap of the project, and its one axis.

The state has no device axis: `in_axes=None` and `out_axes=None` hand one
logical copy in and out, so a forgotten sum over devices is silent. The test
that one device equals several on the same global batch guards that.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "batch"

_Decided = TypeVar("_Decided", bool, int, float)


def replicate(tree: Any) -> Any:
  """Puts a copy of every array on each local device.

  All on the one mesh that pmap's own outputs have; arrays that arrive with
  another sharding would make it compile a second time.
  """
  return jax.device_put(tree, NamedSharding(_local_mesh(), PartitionSpec()))


def _local_mesh() -> Mesh:
  return Mesh(np.array(jax.local_devices()), (AXIS,))


def check_divides(num_scenes: int, what: str) -> None:
  """Raises ValueError unless a batch of scenes splits over all devices."""
  if num_scenes % jax.device_count():
    raise ValueError(
      f"{what} makes {num_scenes} scenes a step, which do not divide over "
      f"{jax.device_count()} devices; choose a multiple"
    )


def agree(decision: _Decided) -> _Decided:
  """Returns process 0's decision, or number, on every process.

  For what all must do together but clocks or rounding decide: they differ.
  """
  if jax.process_count() == 1:
    return decision
  return type(decision)(
    multihost_utils.broadcast_one_to_all(np.array(decision))
  )


def meet() -> None:
  """Lets several processes connect, while all of them are here.

  CPUs do when they first sum over a set of devices, and wait for each other for
  half a minute only; later, one may have data to make, or a slow compiler.
  """
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices("joined")
    ones = np.ones(jax.local_device_count(), np.int32)
    jax.block_until_ready(jax.pmap(lambda x: jax.lax.psum(x, AXIS), AXIS)(ones))


def sum_over_processes(*numbers: int) -> tuple[int, ...]:
  """Returns the sums of what all processes call it with."""
  of_all = multihost_utils.process_allgather(np.array(numbers))
  return tuple(of_all.reshape(-1, len(numbers)).sum(0).tolist())


@contextlib.contextmanager
def first_process_first(name: str) -> Iterator[None]:
  """Lets process 0 through before the others."""
  if jax.process_index() > 0:
    multihost_utils.sync_global_devices(name)
  yield
  if jax.process_index() == 0 and jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def local_rows(groups: np.ndarray, axis: int = 0) -> np.ndarray:
  """Returns this process's part of a global batch, whose rows an axis holds."""
  parts = np.split(groups, jax.process_count(), axis)
  return parts[jax.process_index()]


def split_over_devices(batch: Mapping[str, np.ndarray], axis: int = 0) -> dict:
  """Puts arrays on the local devices, each with its part of an axis.

  [..., S, ...] becomes [devices, ..., S / devices, ...].
  """
  devices = jax.local_device_count()

  def split(values):
    shape = values.shape[:axis], (devices, -1), values.shape[axis + 1 :]
    return np.moveaxis(values.reshape(*shape[0], *shape[1], *shape[2]), axis, 0)

  sharding = NamedSharding(_local_mesh(), PartitionSpec(AXIS))
  batch = {name: split(values) for name, values in batch.items()}
  return jax.device_put(batch, sharding)


def example_keys(key: jax.Array, size: int) -> jax.Array:
  """Returns one key per local example, [size], by its global position.

  The position, not the device, decides: the same global batch gets the same
  random numbers however many devices share it.
  """
  positions = jax.lax.axis_index(AXIS) * size + jax.numpy.arange(size)
  return jax.vmap(jax.random.fold_in, (None, 0))(key, positions)


def sum_over_devices(tree: Any) -> Any:
  """Sums a tree of float32 arrays over all devices, in one collective."""
  flat, unravel = ravel_pytree(tree)
  return unravel(jax.lax.psum(flat, AXIS))


def gather_over_devices(tree: Any) -> Any:
  """Joins arrays [s, ...] of all devices to [S, ...] on each of them."""
  return jax.tree.map(lambda x: jax.lax.all_gather(x, AXIS, tiled=True), tree)


def several_updates(step: Callable) -> Callable:
  """Makes one call of several updates, so that the host is asked less often.

  Args:
    step: step(state, tables, batch) -> (state, metrics).

  Returns:
    steps(state, tables, batches) -> (state, metrics), where batches and
    metrics have a leading axis [n] of updates. One update compiles to the
    same program as step itself.
  """

  def steps(state, tables, batches):
    if jax.tree.leaves(batches)[0].shape[0] == 1:
      state, metrics = step(
        state, tables, jax.tree.map(lambda x: x[0], batches)
      )
      return state, jax.tree.map(lambda x: x[None], metrics)
    return jax.lax.scan(lambda s, b: step(s, tables, b), state, batches)

  return steps


def pmap_train_step(step: Callable) -> Callable:
  """Maps step(state, tables, batch) -> (state, metrics); donates the state."""
  mapped = jax.pmap(
    step,
    AXIS,
    in_axes=(None, None, 0),
    out_axes=None,
    donate_argnums=0,
  )
  return _Mapped(mapped, "updates")


def pmap_predict_step(step: Callable) -> Callable:
  """Maps step(variables, tables, batch) -> predictions of the whole batch."""
  mapped = jax.pmap(step, AXIS, in_axes=(None, None, 0), out_axes=None)
  return _Mapped(mapped, "predictions")


class _Mapped:
  """A mapped step that says when it is compiled, which may take minutes.

  It is for each shape of the batch, by the call that first has it. Calls do not
  wait for results, so the time of that one is the compiler's.
  """

  def __init__(self, step: Any, what: str):
    self._step, self._what = step, what
    self._compiled = set()
    self.lower = step.lower

  def __call__(self, first: Any, tables: Any, batch: Any) -> Any:
    shapes = tuple(x.shape for x in jax.tree.leaves(batch))
    if shapes in self._compiled:
      return self._step(first, tables, batch)
    logging.info("Compiling %s ...", self._what)
    started = time.monotonic()
    result = self._step(first, tables, batch)
    seconds = time.monotonic() - started
    logging.info("Compiled %s in %.1f s", self._what, seconds)
    self._compiled.add(shapes)
    return result
