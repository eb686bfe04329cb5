"""Draws what a run measured, from the files in its workdir alone.

python -m rn_jax.plots --workdir=W

reads W/metrics.jsonl and W/eval_*.json and writes pictures to W/plots/.
"""

from absl import app, flags

from rn_jax.plots.run_plots import plot_workdir


def _main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f"unknown arguments: {' '.join(argv[1:])}")
  try:
    paths = plot_workdir(flags.FLAGS.workdir)
  except (FileNotFoundError, ValueError) as e:
    raise SystemExit(str(e)) from e
  for path in paths:
    print(path)


if __name__ == "__main__":
  # Defined here alone: launch.py has a flag of the same name.
  flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
  app.run(_main)
