r"""Makes a checkpoint of the reference's weights.

    python -m rn_jax.interop.import_torch --checkpoint=X.pth \
        --vocabulary=clevr --output=DIR

Reads what torch.save (any version) or safetensors wrote of an RN or 2S-RN of
the reference, from pixels or from state descriptions; which one it is, the
tensors tell. The vocabulary "clevr" is that of networks trained on CLEVR, such
as the published ones. Another is a JSON file {"questions": {word: index},
"answers": {answer: index}} with the indices the network was trained with, from
1. The checkpoint holds the config, too, so evaluation needs nothing else.
"""

import os
from pathlib import Path

import jax
from absl import logging

from rn_jax.checkpoint import write_model
from rn_jax.data.vocabulary import read_vocabulary
from rn_jax.host import cli
from rn_jax.host.exclusive import exclusive
from rn_jax.host.paths import local_path
from rn_jax.interop.recognize import recognize
from rn_jax.interop.reference_names import strip_prefix, to_variables
from rn_jax.interop.safetensors_file import read_safetensors
from rn_jax.interop.torch_file import read_state_dict
from rn_jax.run_log import quiet_backends


def import_torch(
  checkpoint: str | os.PathLike,
  vocabulary: str | os.PathLike,
  output: str | os.PathLike,
) -> tuple[str, int]:
  """Makes a checkpoint of the reference's weights.

  Args:
    checkpoint: A file of torch.save, or with the suffix .safetensors.
    vocabulary: See above.
    output: Checkpoints folder to write, to be given as --checkpoint.

  Returns:
    The reference's name for the network, and its number of parameters.

  Raises:
    ValueError: The file is damaged or no network of the reference, or the
      vocabulary does not belong to it.
    CheckpointError: The output already holds a checkpoint.
    BusyError: Another import writes to the output.
  """
  is_safetensors = Path(checkpoint).suffix == ".safetensors"
  read = read_safetensors if is_safetensors else read_state_dict
  tensors = strip_prefix(read(checkpoint))
  words = read_vocabulary(vocabulary)
  num_words, num_answers = len(words["questions"]), len(words["answers"])
  where = str(checkpoint)
  try:
    name, config = recognize(tensors)
    where = f"{checkpoint}, taken for {name}"
    _check_vocabulary(tensors, config, num_words, num_answers, vocabulary)
    variables = to_variables(tensors, config, num_words, num_answers)
  except ValueError as error:
    raise ValueError(f"{where}: {error}") from error
  if config.model.inputs == "states" and "conv.conv1.weight" in tensors:
    logging.info("Left out the conv encoder, which %s does not use", name)
  with exclusive(Path(local_path(output)) / ".import.lock"):
    write_model(output, variables, config=config.to_dict(), vocabulary=words)
  return name, sum(x.size for x in jax.tree.leaves(variables["params"]))


def _check_vocabulary(
  tensors, config, num_words, num_answers, path: str | os.PathLike
) -> None:
  """Raises ValueError if words or answers are not as many as the network's."""
  last = f"rl.f_fc{len(config.model.f_units) + 1}.bias"
  for name, entries, expected in (
    ("text.wembedding.weight", f"{num_words} words and padding", num_words + 1),
    (last, f"{num_answers} answers", num_answers),
  ):
    if len(tensors[name]) != expected:
      raise ValueError(
        f"{name} has {len(tensors[name])} rows, but {path} has {entries}, "
        f"which take {expected}: it is not the vocabulary of this network"
      )


def _main(checkpoint: str, vocabulary: str, output: str) -> None:
  quiet_backends()
  name, num_parameters = import_torch(checkpoint, vocabulary, output)
  print(f"{output}: {name}, {num_parameters:,} parameters. To evaluate it:")
  print(
    f"  python -m data_prep.convert_clevr --clevr_dir=CLEVR_v1.0 "
    f"--output_dir=RECORDS --vocabulary={vocabulary}"
  )
  print(
    f"  python launch.py --mode=evaluate --checkpoint={output} "
    "--config.data.dir=RECORDS"
  )


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag(
      "checkpoint",
      None,
      "File of weights to read: .safetensors, else of torch.save.",
      required=True,
    ),
    cli.path_flag(
      "vocabulary",
      None,
      "The network's vocabulary: clevr, or a JSON file.",
      required=True,
    ),
    cli.path_flag(
      "output", None, "Checkpoints folder to write.", required=True
    ),
  )
