"""How the time of an update grows with objects, batch and question length.

    python -m benchmarks.scaling [--plot=docs/scaling.svg] ...

An RN on states with g_theta of 256 units: objects from 8 to 144 that all
count, questions in a batch, and words in a question, one of them varied at a
time. Exponents are fitted to the logarithms of the four largest sizes: with N
objects an RN relates N squared pairs, so the first tends to 2 and the second
to 1; reading is a small part of an update, so the third stays far below 1.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags
from matplotlib import rc_context, ticker
from matplotlib.figure import Figure

from benchmarks import timing
from benchmarks.workload import (
  NUM_ANSWERS,
  NUM_WORDS,
  load_config,
  random_dataset,
)
from rn_jax import parallel
from rn_jax.data.epochs import group_questions
from rn_jax.data.input_pipeline import make_batch
from rn_jax.host import cli
from rn_jax.host.atomic import replacing
from rn_jax.optimizer import make_optimizer, make_schedule
from rn_jax.steps import init_state, make_model, make_train_step

# What is varied, and what the others stay at.
SIZES = {
  "objects": (8, 16, 32, 48, 64, 96, 144),
  "batch": (4, 8, 16, 32, 64, 128),
  "words": (5, 10, 20, 40, 80, 160),
}
FIXED = {"objects": 24, "batch": 16, "words": 20}
_MEANING = {
  "objects": "objects in a scene",
  "batch": "questions in a batch",
  "words": "words in a question",
}
_INK, _CURVE = "#767676", "#3b82c4"


class Update:
  """Updates on one random batch of the given size."""

  def __init__(self, objects: int, batch: int, words: int, tiny: bool):
    config = load_config("tiny:original_sd" if tiny else "original_fp")
    config.model.inputs = "states"
    config.data.augment = False
    config.data.max_objects = objects
    config.model.mask_objects = False
    dataset = random_dataset(config, batch, 1)
    arrays = make_batch(dataset, group_questions(dataset.questions["scene"], 1))
    arrays["question"] = np.full((batch, 1, words), 1, np.int32)
    arrays["question_length"] = np.full((batch, 1), words, np.int32)
    model = make_model(config, NUM_WORDS, NUM_ANSWERS)
    schedule = make_schedule(config.optimizer, 1000.0, 1000)
    optimizer = make_optimizer(config.optimizer, schedule)
    self._state = parallel.replicate(init_state(model, optimizer, arrays, 0))
    self._batch = parallel.split_over_devices(arrays)
    self._step = parallel.pmap_train_step(
      make_train_step(model, optimizer, schedule, config)
    )

  def __call__(self):
    self._state, metrics = self._step(self._state, {}, self._batch)
    return metrics["loss"]


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
  """Returns the slope of the logarithms over the four largest sizes."""
  slope, _ = np.polyfit(np.log(sizes[-4:]), np.log(values[-4:]), 1)
  return float(slope)


def draw(path: str, times: dict[str, dict[int, float]]) -> None:
  """Draws milliseconds over each size, on logarithmic axes.

  For light pages and dark ones: no paper, and ink that shows on both.
  """
  figure = Figure(figsize=(7.2, 3), layout="constrained")
  figure.patch.set_visible(False)
  panels = figure.subplots(1, len(times), sharey=True, squeeze=False)[0]
  for axes, (name, points) in zip(panels, times.items(), strict=True):
    sizes, values = list(points), list(points.values())
    power = exponent(sizes, values)
    axes.patch.set_visible(False)
    axes.loglog(sizes, values, "o-", color=_CURVE, markersize=4)
    axes.set_title(f"time ~ size to the power {power:.2f}", fontsize=9)
    axes.set_xlabel(_MEANING[name])
    axes.set_xticks(sizes, [str(size) for size in sizes], fontsize=8)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    axes.minorticks_off()
    axes.grid(axis="y", color=_INK, alpha=0.3, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(_INK)
    axes.tick_params(colors=_INK)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
      text.set_color(_INK)
  panels[0].set_ylabel("time of an update (ms)")
  # Text stays text, which can be read aloud and copied.
  with replacing(Path(path)) as temporary, rc_context({"svg.fonttype": "none"}):
    figure.savefig(temporary, format=Path(path).suffix[1:])


def run(
  repeats: int,
  plot: str,
  tiny: bool = False,
  min_seconds: float = 0.2,
  sizes: dict[str, Sequence[int]] = SIZES,
) -> list[tuple]:
  """Prints and returns the table; for the arguments see the flags below."""
  rows, times = [], {}
  for name, values in sizes.items():
    updates = {
      value: Update(**FIXED | {name: value}, tiny=tiny) for value in values
    }
    seconds = timing.measure(updates, repeats, name, min_seconds)
    speeds = timing.speeds(seconds, 1)
    times[name] = {value: speed[0] for value, speed in speeds.items()}
    power = exponent(list(times[name]), list(times[name].values()))
    for value, ms in times[name].items():
      rows.append((name, value, ms, f"{power:.2f}"))
  if plot:
    draw(plot, times)
  fixed = ", ".join(f"{value} {name}" for name, value in FIXED.items())
  print(f"Of {fixed}, one is varied\n")
  timing.print_table(("varied", "size", "ms an update", "exponent"), rows)
  return rows


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_integer("repeats", 5, "Rounds of measuring."),
      cli.path_flag("plot", "", "File for a plot, .svg or .png."),
    ],
  )
