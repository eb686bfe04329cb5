"""Draws what a run measured, from the files in its workdir alone.

    python -m rn_jax.plots --workdir=W

reads W/metrics.jsonl and W/eval_*.json and writes pictures to W/plots/.
"""

from rn_jax.host import cli
from rn_jax.plots.run_plots import plot_workdir


def _main(workdir: str) -> None:
  for path in plot_workdir(workdir):
    print(path)


if __name__ == "__main__":
  cli.run(
    _main,
    cli.path_flag("workdir", None, "Folder of the run.", required=True),
  )
