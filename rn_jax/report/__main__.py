r"""Explains runs: a page that compares several, or says where one errs.

    python -m rn_jax.report --workdirs=W1,W2,W3 --output=FOLDER
    python -m rn_jax.report --workdirs=W --output=FOLDER

writes FOLDER/report.html, which has all in itself, and FOLDER/report.md with
pictures beside it. Several runs: their figures, beside the paper's where the
config is of an experiment of it; curves, confusion matrices, and the settings
that differ. Runs whose configs differ only in their seed, or in what
train.max_minutes made of them, are one row. A folder of runs, as of a sweep,
stands for the runs in it.

One run: its network answers the split again, and the page says where it errs
and how sure it is, with the mistakes it is surest of.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import jax
from absl import flags, logging

from rn_jax.host import cli, compile_cache
from rn_jax.host.paths import local_path, local_paths
from rn_jax.report.compose import compare_runs, explain_run
from rn_jax.report.pages import write_report
from rn_jax.report.runs import find_runs
from rn_jax.run_log import quiet_backends


def report(
  workdirs: Sequence[str | os.PathLike],
  output: str | os.PathLike,
  split: str = "val",
  data_dir: str | os.PathLike | None = None,
) -> list[Path]:
  """Writes the report of runs.

  Args:
    workdirs: Folders of runs.
    output: Folder to make.
    split: That was evaluated; of a single run, to be answered.
    data_dir: Records for a single run; None: those that it was trained with.

  Returns:
    The pages.

  Raises:
    ValueError, OSError: A folder is not what it should be; says what to do.
  """
  folders = find_runs(local_paths(workdirs))
  if len(folders) == 1:
    records = os.fspath(data_dir) if data_dir else None
    content = explain_run(folders[0], split, records)
  elif data_dir:
    raise ValueError(
      "--data_dir is for the report of one run; several are compared by the "
      f"eval_{split}.json in their folders"
    )
  else:
    content = compare_runs(folders, split)
  return write_report(content, Path(local_path(output)))


def _main(**settings) -> None:
  quiet_backends()
  compile_cache.enable(None)
  jax.config.update("jax_default_matmul_precision", "highest")
  logging.set_verbosity(logging.WARNING)
  print(*report(**settings), sep="\n")


if __name__ == "__main__":
  cli.run(
    _main,
    cli.paths_flag("workdirs", None, "Folders of runs.", required=True),
    cli.path_flag("output", None, "Folder to make.", required=True),
    flags.DEFINE_string("split", "val", "Split that was evaluated."),
    cli.path_flag(
      "data_dir",
      None,
      "Records for the report of one run; not given: those of its training.",
      addresses=True,
    ),
  )
