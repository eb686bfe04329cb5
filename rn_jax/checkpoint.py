"""Checkpoints: saved in the background, verified whenever they are read."""

import json
import os
import pathlib
import shutil
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.core import unfreeze

from rn_jax import checkpoint_format as fmt
from rn_jax.checkpoint_errors import CheckpointError, quiet_orbax, saving
from rn_jax.host.atomic import replacing
from rn_jax.host.mirror import fetched
from rn_jax.host.paths import local_path, place
from rn_jax.train_state import TrainState

__all__ = ["CheckpointError", "Checkpointer", "load_model", "write_model"]


class Checkpointer:
  """Saves and restores the state of a run; a context manager.

  Keeps the latest checkpoints and the one with the best metrics["accuracy"];
  checkpoints saved without that metric never count as best. In a run of several
  processes every process makes the same calls.
  """

  def __init__(self, directory: str | os.PathLike, *, keep: int = 2):
    """Opens or creates a checkpoints folder.

    Args:
      directory: The folder, usually `workdir/checkpoints`. Leftovers of saves
        that a crash cut short are removed from it.
      keep: How many of the latest checkpoints to keep, beside the best one.
    """
    quiet_orbax()
    self._directory = pathlib.Path(local_path(directory)).absolute()
    self._keep = keep
    if jax.process_index() == 0:
      self._directory.mkdir(parents=True, exist_ok=True)
      fmt.remove_empty_steps(self._directory)
    ocp.multihost.sync_global_processes("rn_jax:open_checkpoints")
    self._accuracy = {
      step: fmt.accuracy_of(self._directory / str(step))
      for step in fmt.list_steps(self._directory)
    }
    self._manager = ocp.CheckpointManager(
      self._directory,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=self, cleanup_tmp_directories=True
      ),
    )

  def __enter__(self) -> "Checkpointer":
    return self

  def __exit__(self, error: type[BaseException] | None, *_) -> None:
    # After an error the others of several processes may be gone, and a save
    # that waits for them would wait for minutes.
    if error is None or jax.process_count() == 1:
      self.close()

  def should_preserve(self, checkpoints, *, context) -> list[bool]:
    """Tells orbax which checkpoints to keep (its PreservationPolicy).

    Its own BestN reads a metrics file of every step when a folder is opened
    and fails altogether where one of them is damaged.
    """
    del context
    steps = [checkpoint.step for checkpoint in checkpoints]
    best = fmt.best_first({step: self._accuracy.get(step) for step in steps})
    kept = {*sorted(steps)[-self._keep :], *best[:1]}
    return [step in kept for step in steps]

  def save(
    self,
    state: TrainState,
    *,
    config: dict,
    vocabulary: dict,
    data_sha256: str | None = None,
    metrics: dict | None = None,
    order: dict | None = None,
  ) -> None:
    """Takes a copy of the state and writes it in the background.

    Waits for the previous save first. A step that is already saved is left as
    it is, but for metrics that it lacks.

    Args:
      state: Leaves are numpy arrays or jax arrays without a device axis, on one
        device or replicated over the local ones. May be donated afterwards.
      config: The run's configuration, as JSON values.
      vocabulary: The vocabulary of questions and answers, as JSON values.
      data_sha256: Identifies the training data; see Dataset.sha256.
      metrics: Numbers; "accuracy" decides which checkpoint is best. None if
        there was no time to evaluate.
      order: See TrainOrder.state.
    """
    step = int(state.step)
    if step in self._manager.all_steps():
      if metrics is not None and not self.is_scored(step):
        self._add_metrics(step, metrics)
      return
    train = {"opt_state": state.opt_state, "step": state.step}
    items = {
      "model": _host_model(state.params, state.batch_stats),
      "train": fmt.flatten(_to_host(train)),
    }
    meta = fmt.make_meta(
      step, items, config, vocabulary, metrics, data_sha256, order
    )
    self._accuracy[step] = fmt.finite_accuracy(meta)
    with saving(self._directory):
      _save(self._manager, items, meta)

  def is_scored(self, step: int) -> bool:
    """Returns whether a step is saved with metrics["accuracy"]."""
    return self._accuracy.get(step) is not None

  def _add_metrics(self, step: int, metrics: dict) -> None:
    self.wait()
    step_dir = self._directory / str(step)
    meta = fmt.with_metrics(fmt.read_meta(step_dir), metrics)
    if jax.process_index() == 0:
      with replacing(step_dir / "meta" / "metadata") as temporary:
        temporary.write_text(json.dumps(meta))
    ocp.multihost.sync_global_processes("rn_jax:add_metrics")
    self._accuracy[step] = fmt.finite_accuracy(meta)

  def wait(self) -> None:
    """Blocks until the last save is complete on disk; raises if it failed."""
    with saving(self._directory):
      self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits for the last save and releases the threads."""
    with saving(self._directory):
      self._manager.close()

  def restore_latest(self, like: TrainState) -> tuple[TrainState, dict] | None:
    """Reads the latest checkpoint that is whole.

    A damaged one is skipped with a warning and renamed to `<step>.damaged`, so
    that the resumed run can write that step again.

    Args:
      like: A state of the expected structure; only names, shapes and dtypes
        are used, as from `jax.eval_shape`.

    Returns:
      The state with numpy leaves, and the checkpoint's meta; None if the folder
      holds no checkpoint.

    Raises:
      CheckpointError: No checkpoint can be restored, or the one found does not
        fit `like` or is a network without a training state.
    """
    self.wait()
    steps = fmt.list_steps(self._directory)
    if not steps:
      return None
    step, items, meta, damaged = fmt.read_first_whole(
      self._directory, steps, ("model", "train")
    )
    step_dir = self._directory / str(step)
    if "train" not in items:
      raise CheckpointError(
        f"{step_dir} holds a network alone, as imported weights do, and no "
        "training to resume. Load it with load_model; train in another workdir."
      )
    state = fmt.fit(
      like, fmt.flatten(items["model"]) | items["train"], step_dir
    )
    if damaged:
      self._set_aside(damaged)
    return state, meta

  def _set_aside(self, steps: list[int]) -> None:
    if jax.process_index() == 0:
      for step in steps:
        aside = self._directory / f"{step}.damaged"
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(self._directory / str(step), aside)
    ocp.multihost.sync_global_processes("rn_jax:set_aside")
    for step in steps:
      self._accuracy.pop(step, None)
    self._manager.reload()


def load_model(
  path: str | os.PathLike, which: str = "best"
) -> tuple[dict, dict]:
  """Reads the network of a checkpoint, without its optimizer.

  Nothing on disk is changed, so a run may still be writing to the folder.

  Args:
    path: A workdir, its checkpoints folder, or the folder of one step; or its
      address. From the first two a damaged checkpoint is replaced by the next
      one in order, with a warning.
    which: "best" (by metrics["accuracy"]; checkpoints without it come last) or
      "latest".

  Returns:
    The variables {"params", "batch_stats"} as nested dicts of numpy arrays, and
    the checkpoint's meta.

  Raises:
    CheckpointError: There is no checkpoint, or none can be restored.
  """
  if which not in ("best", "latest"):
    raise ValueError(f"which must be 'best' or 'latest', not {which!r}")
  quiet_orbax()
  path = place(path)
  with fetched(path.absolute(), "checkpoints") as directory:
    return _load_model(directory, path, which)


def _load_model(
  directory: pathlib.Path, path: pathlib.Path, which: str
) -> tuple[dict, dict]:
  """Loads from `directory`, which people know as `path`."""
  directory, steps = fmt.find_steps(directory, path)
  if which == "best":
    steps = fmt.best_first(
      {step: fmt.accuracy_of(directory / str(step)) for step in steps}
    )
  _, items, meta, _ = fmt.read_first_whole(directory, steps, ("model",))
  return items["model"], meta


def write_model(
  directory: str | os.PathLike,
  variables: dict,
  *,
  config: dict,
  vocabulary: dict,
  metrics: dict | None = None,
  step: int = 0,
) -> None:
  """Writes a network alone, such as imported weights, as a checkpoint.

  Args:
    directory: The checkpoints folder.
    variables: {"params", "batch_stats"}; the second may be absent.
    config: See `Checkpointer.save`.
    vocabulary: See `Checkpointer.save`.
    metrics: See `Checkpointer.save`.
    step: Number of updates the weights have seen, if known.

  Raises:
    CheckpointError: The folder has a checkpoint already.
  """
  quiet_orbax()
  directory = pathlib.Path(local_path(directory)).absolute()
  if steps := fmt.list_steps(directory):
    raise CheckpointError(
      f"{directory} already holds a checkpoint, of step {steps[0]}. Remove it "
      "or choose another folder."
    )
  model = _host_model(variables["params"], variables.get("batch_stats", {}))
  items = {"model": model}
  meta = fmt.make_meta(step, items, config, vocabulary, metrics, None)
  directory.mkdir(parents=True, exist_ok=True)
  fmt.remove_empty_steps(directory)
  # It keeps all that there are, and waits in the end.
  with saving(directory), ocp.CheckpointManager(directory) as manager:
    _save(manager, items, meta)


def _save(manager: ocp.CheckpointManager, items: dict, meta: dict) -> None:
  trees = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
  args = ocp.args.Composite(**trees, meta=ocp.args.JsonSave(meta))
  manager.save(meta["step"], args=args, force=True)


def _to_host(tree: Any) -> Any:
  """Numpy leaves: orbax rejects host-local jax arrays in multi-process runs.

  Orbax copies numpy leaves before `save` returns, so the state may change.
  """
  return jax.tree.map(lambda leaf: np.asarray(jax.device_get(leaf)), tree)


def _host_model(params: Any, batch_stats: Any) -> dict:
  model = {"params": params, "batch_stats": batch_stats}
  return _to_host(unfreeze(model))
