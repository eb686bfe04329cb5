"""Trains, evaluates and uses Relation Networks: flags in, one call out."""

import re
import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from rn_jax import config_checks, config_mistakes
from rn_jax.data.own_questions import OwnQuestions
from rn_jax.host import cli
from rn_jax.host.paths import absolute, local_path, place
from rn_jax.host.write_errors import explain
from rn_jax.retrieval.describe import descriptors


def _find_file(argument: str) -> str:
  """Finds what the current folder lacks beside this file.

  That is configs/NAME.py, and the project's own networks in pretrained.
  """
  found = re.match(
    r"(--?(?:config|checkpoint|config\.train\.init_from)=)?"
    r"(configs/.+\.py|pretrained/\w+)",
    argument,
  )
  if not found or Path(found[2]).exists():
    return argument
  beside = Path(__file__).parent
  if not (beside / found[2]).exists():
    return argument
  return (found[1] or "") + str(beside / argument[found.start(2) :])


_CONFIG = config_flags.DEFINE_config_file(
  "config",
  None,  # given by run(), for a default is read before mistakes are caught
  "The experiment; not given: configs/common.py. When evaluating, the "
  "network's own config is used, with what --config.KEY=VALUE flags override.",
)
_MODE = flags.DEFINE_enum(
  "mode",
  "train",
  ["train", "evaluate", "predict", "ask", "extract"],
  "What to do.",
)
_WORKDIR = cli.path_flag(
  "workdir",
  None,
  "Folder of the run: checkpoints, metrics, results.",
  addresses=True,
)
_CHECKPOINT = cli.path_flag(
  "checkpoint",
  None,
  "Checkpoint to use instead of the workdir's best.",
  addresses=True,
)
_SPLIT = flags.DEFINE_string(
  "split", "val", "Split to evaluate, predict or describe."
)
_IMAGE = cli.path_flag(
  "image",
  None,
  "Image file to ask about; for networks on states a scene's JSON file.",
)
_IMAGES = cli.multi_path_flag(
  "images",
  [],
  "Image file or folder to describe or, with --questions, to ask about, in "
  "place of records; for networks on states a scenes file. May be repeated.",
)
_QUESTIONS = cli.path_flag(
  "questions",
  None,
  "File of questions to predict or evaluate, in place of the split's own: "
  "CLEVR's JSON, JSON lines, or CSV.",
)
_SKIP_UNKNOWN = flags.DEFINE_bool(
  "skip_unknown",
  False,
  "Leave out --questions with words that the network does not know.",
)
_DESCRIPTORS = flags.DEFINE_list("descriptors", [], descriptors.HELP)
_BEAM_OPTIONS = cli.beam_flag("beam_options")
_QUESTION = flags.DEFINE_string("question", None, "Question in English.")
_WHY = cli.path_flag(
  "why",
  None,
  "PNG file to make when asking: the pairs of objects that decided the answer.",
)
_PICTURE = cli.path_flag(
  "picture",
  None,
  "Picture of a scene that is given as JSON, for --why to draw on.",
)
_DEBUG = flags.DEFINE_bool(
  "debug", False, "Stop at the first NaN, and log what is compiled."
)
_COMPILATION_CACHE = cli.path_flag(
  "compilation_cache",
  None,
  "Folder for compiled programs. By default $JAX_COMPILATION_CACHE_DIR, or "
  "rn_jax/xla in the user's cache folder; empty: they are not kept.",
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator_address", None, "HOST:PORT of process 0, for several hosts."
)
_NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes", None, "Number of processes of the run."
)
_PROCESS_ID = flags.DEFINE_integer(
  "process_id", None, "Number of this process, from 0."
)


# JAX is imported by the functions: `--help` need not wait for it.


def main(argv: list[str]) -> None:
  """Does what --mode says."""
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments: {argv[1:]}")
  from flax.errors import FlaxError
  from jax.errors import JaxRuntimeError

  from rn_jax import hosts

  own = _own_questions()
  if _BEAM_OPTIONS.value is not None and _MODE.value != "extract":
    raise app.UsageError("--beam_options goes with --mode=extract")
  try:
    _start_jax()
    if _MODE.value == "train":
      _train()
    else:
      _use(
        _require(
          "checkpoint or --workdir", _CHECKPOINT.value or _WORKDIR.value
        ),
        own,
      )
  except app.UsageError:
    raise
  except Exception as error:
    told = isinstance(
      error, FlaxError | FloatingPointError | OSError | ValueError
    )
    broken = None
    if told or isinstance(error, JaxRuntimeError):
      broken = hosts.explain_broken(error)
    if (told or broken) and not _DEBUG.value:
      logging.error("%s (--debug shows where)", broken or explain(error))
    elif hosts.is_alone():
      raise
    else:  # raised, it would wait for the others, and they for it
      logging.exception("This process failed")
    hosts.leave(broken=broken is not None)


def _start_jax() -> None:
  import jax

  from rn_jax import hosts, run_log, settings
  from rn_jax.host import compile_cache, cpu_devices

  run_log.quiet_backends()
  compile_cache.enable(_COMPILATION_CACHE.value)
  if _DEBUG.value:
    jax.config.update("jax_debug_nans", True)
    jax.config.update("jax_log_compiles", True)
  if _MODE.value == "train":
    config_checks.check_training(_CONFIG.value)
    config = settings.read_config(_CONFIG.value.to_dict())
    train, data = config.train, config.data
    scenes = train.batch_size // data.questions_per_scene
    processes = hosts.expected_processes(_NUM_PROCESSES.value)
    cpu_devices.divide_cpu(train.cpu_devices, scenes // processes)
  else:
    # What one only looks at is computed as exactly as the accelerator can.
    jax.config.update("jax_default_matmul_precision", "highest")
  hosts.join(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
  logging.info(
    "JAX %s, process %d of %d, devices: %s",
    jax.__version__,
    jax.process_index(),
    jax.process_count(),
    ", ".join(map(str, jax.devices())),
  )


def _train() -> None:
  from data_prep.generation import builtin
  from rn_jax import parallel, train

  config, workdir = _CONFIG.value, place(_require("workdir", _WORKDIR.value))
  if _CHECKPOINT.value:
    raise app.UsageError(
      "--mode=train resumes from its --workdir; it reads no --checkpoint"
    )
  if not config.data.dir:
    if not config.generate.num_train_scenes:
      raise app.UsageError(
        "--config.data.dir=DIR is needed: a folder made by "
        "`python -m data_prep.convert_clevr`"
      )
    train.check(config, workdir)  # mistakes are found before they are made
    # One process makes the built-in data; the others find them made.
    size = config.data.image_size if config.model.inputs == "pixels" else None
    with parallel.first_process_first("built-in data"):
      made = builtin.prepare(**config.generate.to_dict(), image_size=size)
    config.data.dir = str(made)
  # It is looked for again from other folders.
  config.data.dir = absolute(config.data.dir)
  train.train(config, workdir)


def _own_questions() -> OwnQuestions | None:
  """Returns what --questions asks."""
  if not _QUESTIONS.value:
    for flag in _IMAGES, _SKIP_UNKNOWN:
      if flag.value and (flag.name, _MODE.value) != ("images", "extract"):
        raise app.UsageError(f"--{flag.name} is of use with --questions only")
    return None
  if _MODE.value not in ("predict", "evaluate"):
    raise app.UsageError(
      f"--mode={_MODE.value} takes no --questions; they are for --mode=predict "
      "and --mode=evaluate"
    )
  images = tuple(_IMAGES.value)
  return OwnQuestions(_QUESTIONS.value, images, _SKIP_UNKNOWN.value)


def _use(network: str, own: OwnQuestions | None) -> None:
  """Prints the answer of a network, or where the results are."""
  from rn_jax import answer, evaluate, predict
  from rn_jax.retrieval import extract

  workdir = place(_WORKDIR.value or evaluate.results_folder(network))
  overrides = config_flags.get_override_values(flags.FLAGS["config"])
  match _MODE.value:
    case "ask":
      image = _require("image", _IMAGE.value)
      question = _require("question", _QUESTION.value)
      why, picture = _WHY.value, _PICTURE.value
      lines = [
        answer.ask_command(network, image, question, why, picture, overrides)
      ]
    case "extract":
      split = _SPLIT.value if flags.FLAGS["split"].present else None
      lines = [
        extract.extract_command(
          network,
          workdir,
          split=split,
          images=_IMAGES.value,
          descriptors=_DESCRIPTORS.value,
          overrides=overrides,
          beam_options=_BEAM_OPTIONS.value,
        )
      ]
    case "evaluate":
      lines = evaluate.evaluate_command(
        network, workdir, _SPLIT.value, overrides, own
      )
    case "predict":
      lines = predict.predict_command(
        network, workdir, _SPLIT.value, overrides, own
      )
  print(*lines, sep="\n")


def _require(name: str, value: str | None) -> str:
  if not value:
    raise app.UsageError(f"--mode={_MODE.value} needs --{name}")
  return value


def _parse_flags(argv: list[str]) -> list[str]:
  """Parses the flags; a mistake in the config ends with a line about it."""
  try:
    left = flags.FLAGS(argv)
    config = _CONFIG.value
    _ = config.data  # raises what reading the file has raised
  except SystemExit:  # help was asked for, and nothing is wrong
    raise SystemExit(0) from None
  except Exception as error:  # A config file may raise nearly anything.
    configs = Path(__file__).parent / "configs"
    reason = config_mistakes.explain(error, argv, configs)
    raise SystemExit(f"error: {reason}") from None
  overrides = config_flags.get_override_values(flags.FLAGS["config"])
  for part, name, read in (
    ("data", "dir", cli.read_path),
    ("generate", "language_dir", local_path),
    ("train", "init_from", local_path),
  ):
    try:
      path = config[part][name] = read(config[part][name])
    except ValueError as error:
      raise SystemExit(f"error: --config.{part}.{name}: {error}") from None
    if f"{part}.{name}" in overrides:
      overrides[f"{part}.{name}"] = path
  return left


def run() -> None:
  """Runs the command, which is called rn-jax where it is installed."""
  sys.argv[1:] = map(_find_file, sys.argv[1:])
  if not any(re.match("--?config(=|$)", x) for x in sys.argv):
    sys.argv[1:1] = ["--config=" + _find_file("configs/common.py")]
  # `--help` shows the text and the flags of the program, whose name is another.
  sys.modules["__main__"].__doc__ = __doc__
  for flag in flags.FLAGS.get_key_flags_for_module(__name__):
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
  logging.set_verbosity(logging.INFO)
  app.run(main, flags_parser=_parse_flags)


if __name__ == "__main__":
  run()
