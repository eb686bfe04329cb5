"""Writes a checkpoint's weights under the reference's names, for PyTorch.

    python -m rn_jax.interop.export_torch --checkpoint=DIR --output=X.pth

The suffix of the output decides: `.safetensors`, anything else is read by
torch.load(X, weights_only=True). No bit is lost: what was imported comes out
equal. BatchNorm's num_batches_tracked, which the reference's PyTorch did not
have yet, is left out, and so is the conv encoder that the reference builds but
never calls on state descriptions; for that one load with strict=False.
"""

import math
import os
from pathlib import Path

import ml_collections
from absl import flags, logging

from rn_jax import default_config
from rn_jax.checkpoint import load_model
from rn_jax.host import cli
from rn_jax.host.exclusive import writing
from rn_jax.host.paths import local_path
from rn_jax.interop.reference_names import to_tensors
from rn_jax.interop.safetensors_file import write_safetensors
from rn_jax.interop.torch_file import write_state_dict
from rn_jax.run_log import quiet_backends
from rn_jax.settings import read_config


def export_torch(
  checkpoint: str | os.PathLike, output: str | os.PathLike, prefix: str = ""
) -> dict[str, tuple[int, ...]]:
  """Writes a checkpoint's weights under the reference's names.

  Args:
    checkpoint: A workdir, its checkpoints folder, or the folder of one step.
    output: File to write.
    prefix: Put before every name; the reference's published files and other
      DataParallel networks have "module.".

  Returns:
    The shapes written, by name.

  Raises:
    CheckpointError: There is no usable checkpoint.
    ValueError: The network has no counterpart in the reference (AVF-RN).
    BusyError: Another run writes this output.
  """
  variables, meta = load_model(checkpoint)
  config = read_config(meta["config"])
  try:
    tensors = to_tensors(variables, config.model)
  except ValueError as error:
    raise ValueError(f"{checkpoint}: {error}") from error
  _warn_of_reading(config)
  tensors = {f"{prefix}{name}": array for name, array in tensors.items()}
  is_safetensors = Path(output).suffix == ".safetensors"
  write = write_safetensors if is_safetensors else write_state_dict
  with writing(Path(local_path(output))):
    write(output, tensors)
  return {name: array.shape for name, array in tensors.items()}


def _warn_of_reading(config: ml_collections.ConfigDict) -> None:
  """Says what the network reads otherwise than the reference would."""
  theirs = config.copy_and_resolve_references()
  default_config.use_reference_semantics(theirs)
  theirs.model.reverse_question = True
  theirs.data.punctuation = "split"
  for part, name in (
    ("model", "padding"),
    ("model", "reverse_question"),
    ("model", "one_hot_objects"),
    ("model", "mask_objects"),
    ("data", "punctuation"),
    ("data", "max_objects"),
  ):
    ours, of_objects = config[part][name], "objects" in name
    if ours != theirs[part][name] and (
      config.model.inputs == "states" or not of_objects
    ):
      logging.warning(
        "The reference reads otherwise than this network learned to: its "
        "%s.%s is %r, this network's %r",
        part,
        name,
        theirs[part][name],
        ours,
      )


def _main(checkpoint: str, output: str, prefix: str) -> None:
  quiet_backends()
  shapes = export_torch(checkpoint, output, prefix)
  count = sum(map(math.prod, shapes.values()))
  print(f"{output}: {len(shapes)} tensors, {count:,} numbers")


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag(
      "checkpoint",
      None,
      "Workdir or checkpoints folder to read.",
      required=True,
    ),
    cli.path_flag(
      "output", None, "File to write: .safetensors, else .pth.", required=True
    ),
    flags.DEFINE_string(
      "prefix", "", 'Text to put before every name, such as "module.".'
    ),
  )
