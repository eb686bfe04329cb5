"""What a checkpoint looks like on disk, and how one is read and verified.

A checkpoints folder holds one folder per step, which orbax writes under a
temporary name and then renames. A step holds up to three items:

* `model`: {"params", "batch_stats"}, all that evaluation needs;
* `train`: the optimizer's state and the step, stored flat by name
  ("opt_state/0/count", "step"); absent where only weights were imported;
* `meta`: JSON with the configuration, the vocabulary, the metrics and a SHA-256
  of each item. The hashes are there because orbax gives back flipped bytes
  without complaint.
"""

import hashlib
import json
import math
import os
import pathlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

import rn_jax
from rn_jax.checkpoint_errors import CheckpointError, brief

FORMAT_VERSION = 1


def flatten(tree: Any) -> dict[str, Any]:
  """Names every leaf by its path, as in "params/encoder/kernel"."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in leaves
  }


def make_meta(
  step: int,
  items: dict[str, Any],
  config: dict,
  vocabulary: dict,
  metrics: dict | None,
  data_sha256: str | None,
  order: dict | None = None,
) -> dict:
  """Builds the meta of a checkpoint from its items {name: tree of numpy}."""
  meta = {
    "format_version": FORMAT_VERSION,
    "rn_jax_version": rn_jax.__version__,
    "step": step,
    "hashes": {name: _hash(tree) for name, tree in items.items()},
    "config": config,
    "vocabulary": vocabulary,
    "data_sha256": data_sha256,
    "order": order,
  }
  return with_metrics(meta, metrics)


def with_metrics(meta: dict, metrics: dict | None) -> dict:
  """Returns a meta with metrics, hashed anew."""
  # JSON has no NaN: a metric that is not finite becomes null.
  text = json.dumps(metrics or {}, default=lambda value: value.item())
  metrics = json.loads(text, parse_constant=lambda _: None)
  meta = meta | {"metrics": metrics}
  meta = json.loads(json.dumps(meta, allow_nan=False))  # As a reader sees it.
  meta["hashes"]["meta"] = _hash_meta(meta)
  return meta


def read_meta(step_dir: pathlib.Path) -> dict:
  """Reads and verifies the meta of one checkpoint.

  Raises:
    CheckpointError: Says what is wrong, without naming the checkpoint.
  """
  try:
    meta = json.loads((step_dir / "meta" / "metadata").read_text())
    version = meta["format_version"]
    intact = meta["hashes"]["meta"] == _hash_meta(meta)
  except (
    *(OSError, ValueError, TypeError, KeyError, AttributeError),
    RecursionError,
  ) as e:
    raise CheckpointError(f"meta: unreadable ({brief(e)})") from e
  if version != FORMAT_VERSION:
    raise CheckpointError(
      f"meta: format version {version}, this program reads {FORMAT_VERSION}"
    )
  if not intact:
    raise CheckpointError("meta: its content does not match its hash")
  return meta


def read_step(
  step_dir: pathlib.Path, names: tuple[str, ...]
) -> tuple[dict[str, Any], dict]:
  """Reads and verifies those of the named items that a checkpoint has.

  Returns:
    {name: nested dict of numpy arrays} and the meta.

  Raises:
    CheckpointError: Says what is wrong, without naming the checkpoint.
  """
  meta = read_meta(step_dir)
  items = {}
  for name in names:
    if name not in meta["hashes"]:
      continue
    try:
      with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        items[name] = reader.restore(step_dir / name)
    except Exception as e:  # Orbax and tensorstore raise many types.
      raise CheckpointError(f"{name}: unreadable ({brief(e)})") from e
    if _hash(items[name]) != meta["hashes"][name]:
      raise CheckpointError(f"{name}: its content does not match its hash")
  return items, meta


def read_first_whole(
  directory: pathlib.Path, steps: list[int], names: tuple[str, ...]
) -> tuple[int, dict, dict, list[int]]:
  """Reads the first of `steps` that is whole: (step, items, meta, damaged)."""
  problems = {}
  for step in steps:
    try:
      items, meta = read_step(directory / str(step), names)
    except CheckpointError as e:
      problems[step] = str(e)
      continue
    for skipped, problem in problems.items():
      logging.warning(
        "Skipped the checkpoint of step %d in %s: %s. Using step %d instead.",
        skipped,
        directory,
        problem,
        step,
      )
    return step, items, meta, list(problems)
  listing = "".join(f"\n  step {s}: {p}" for s, p in problems.items())
  raise CheckpointError(f"{directory}: no checkpoint can be restored:{listing}")


def fit(like: Any, found: dict[str, Any], step_dir: pathlib.Path) -> Any:
  """Puts restored arrays into the structure of `like`.

  Args:
    like: A pytree whose leaves have a shape and a dtype.
    found: The arrays by name, see `flatten`.
    step_dir: Where they come from, for the message.

  Raises:
    CheckpointError: Names each tensor that is missing, unexpected, or of
      another shape or dtype.
  """
  expected = flatten(like)
  wrong = []
  for name in sorted(expected.keys() | found.keys()):
    wanted, got = _describe(expected.get(name)), _describe(found.get(name))
    if wanted != got:
      wrong.append(f"\n  {name}: expected {wanted}, found {got}")
  if wrong:
    more = f"\n  and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    raise CheckpointError(
      f"{step_dir} does not fit this configuration:{''.join(wrong[:5])}{more}\n"
      "Use the configuration it was trained with, or another workdir."
    )
  leaves = [found[name] for name in expected]
  return jax.tree.unflatten(jax.tree.structure(like), leaves)


def list_steps(directory: pathlib.Path) -> list[int]:
  """The steps in a folder, latest first; temporary and empty ones are none."""
  if not directory.is_dir():
    return []
  steps = (int(p.name) for p in directory.iterdir() if p.name.isdigit())
  return sorted((s for s in steps if _files(directory / str(s))), reverse=True)


def find_steps(
  directory: pathlib.Path, name: str | os.PathLike
) -> tuple[pathlib.Path, list[int]]:
  """Returns the folder of checkpoints that is meant, and their steps.

  Args:
    directory: A workdir, its checkpoints folder, or the folder of one step.
    name: What people know it as.

  Raises:
    CheckpointError: There is none.
  """
  if (directory / "checkpoints").is_dir():
    directory = directory / "checkpoints"
  steps = list_steps(directory)
  if not steps and directory.name.isdigit() and directory.is_dir():
    directory, steps = directory.parent, [int(directory.name)]
  if not steps:
    raise CheckpointError(
      f"{name}: no checkpoint here. Give a workdir, its checkpoints folder or "
      "the folder of one step, or train first."
    )
  return directory, steps


def remove_empty_steps(directory: pathlib.Path) -> None:
  """Removes empty folders that orbax would take for checkpoints."""
  for path in directory.iterdir():
    if path.name.isdigit() and path.is_dir() and not _files(path):
      logging.warning("Removing %s: an empty folder, not a checkpoint", path)
      path.rmdir()


def accuracy_of(step_dir: pathlib.Path) -> float | None:
  """The accuracy a checkpoint was saved with, or None."""
  try:
    return finite_accuracy(read_meta(step_dir))
  except CheckpointError:
    return None  # Whoever restores the checkpoint will say what is wrong.


def finite_accuracy(meta: dict) -> float | None:
  value = meta["metrics"].get("accuracy")
  return None if value is None or not math.isfinite(value) else float(value)


def best_first(accuracy: dict[int, float | None]) -> list[int]:
  """Orders steps: highest accuracy first, of equals the later one first."""

  def key(step):
    value = accuracy[step]
    return (value is not None, value or 0.0, step)

  return sorted(accuracy, key=key, reverse=True)


def _hash(tree: Any) -> str:
  """SHA-256 over names, dtypes, shapes and bytes, in the order of the names."""
  digest = hashlib.sha256()
  for name, leaf in sorted(flatten(tree).items()):
    digest.update(f"{name}\n{leaf.dtype}\n{leaf.shape}\n".encode())
    digest.update(leaf.tobytes())
  return digest.hexdigest()


def _hash_meta(meta: dict) -> str:
  """SHA-256 over the meta, less its own hash."""
  hashes = {k: v for k, v in meta["hashes"].items() if k != "meta"}
  text = json.dumps(meta | {"hashes": hashes}, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()


def _files(directory: pathlib.Path) -> list[str]:
  try:
    return os.listdir(directory)
  except (FileNotFoundError, NotADirectoryError):
    return []  # A run may be deleting it at this moment.


def _describe(leaf: Any) -> str:
  return "nothing" if leaf is None else f"{np.dtype(leaf.dtype)}{[*leaf.shape]}"
