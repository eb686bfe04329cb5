"""What a large data set takes: hours and money, by the number of workers.

    python -m benchmarks.plan --scenes=1000000 --questions_per_scene=10

A stage is some units of work, each done by one core, and what the command that
deals them out does alone. Workers start, take the next unit when they are free,
and are paid for until the stage ends. A unit that fails is lost at its end; it
goes to the end of the queue, and its worker starts anew. Seconds and bytes are
those of --costs, which benchmarks.unit_costs measures; the price is a guess.
A scene takes one question of each family at most; for more of them than that,
the program says how many scenes it would take.
"""

import heapq
import json
import math
import random
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags

from benchmarks import timing
from data_prep.conversion.shards import SCENES_PER_SHARD
from data_prep.generation.job import SCENES_PER_PART
from rn_jax.host import cli
from rn_jax.retrieval.extract import IMAGES_PER_PART
from rn_jax.retrieval.ground_truth import NUM_QUERIES, QUERIES_PER_PART

COSTS = Path(__file__).with_name("unit_costs.json")
PICTURES_PER_UNIT = 256  # see data_prep/rendering/drawing.py


class Stage(NamedTuple):
  """Work to be dealt out.

  Attributes:
    name: What is done.
    units: Seconds of each unit.
    start: Seconds until a worker takes its first unit.
    alone: Seconds of what one process does while nobody else works.
  """

  name: str
  units: Sequence[float]
  start: float = 0.0
  alone: float = 0.0


def finish(
  units: Iterable[float],
  workers: int,
  start: float = 0.0,
  failure: float = 0.0,
  seed: int = 0,
) -> float:
  """Returns the second in which the last unit is done.

  Args:
    units: Seconds of each, in the order in which they are taken.
    workers: How many there are; all begin to start in second 0.
    start: Seconds that a worker takes to start, and again after a failure.
    failure: Probability that a unit fails, each time that it is done.
    seed: Of the failures.

  Raises:
    ValueError: There is no worker, or no unit can succeed.
  """
  if workers < 1 or not 0 <= failure < 1:
    raise ValueError(
      f"workers is {workers}, must be at least 1; failure is {failure}, must "
      "be at least 0 and less than 1"
    )
  rng = random.Random(seed)
  queue = deque(units)
  free = [start] * min(workers, len(queue))
  last = 0.0
  while queue:
    seconds = queue.popleft()
    done = heapq.heappop(free) + seconds
    if rng.random() < failure:
      queue.append(seconds)
      done += start
    else:
      last = max(last, done)
    heapq.heappush(free, done)
  return last


def split_units(items: int, size: int, seconds: float) -> list[float]:
  """Returns the seconds of units of `size` items, the last one a smaller."""
  whole, rest = divmod(items, size)
  return [size * seconds] * whole + [rest * seconds] * (rest > 0)


def stages(
  costs: Mapping[str, float], scenes: int, per_scene: float
) -> list[Stage]:
  """Returns what there is to do for so many scenes and questions of each.

  Args:
    costs: Seconds by the names in the file of costs.
    scenes: How many, each with a picture.
    per_scene: Questions of a scene.
  """
  c = costs
  pairs = scenes * c["distance"]
  return [
    Stage(
      "scenes and questions",
      split_units(
        scenes, SCENES_PER_PART, c["scene"] + per_scene * c["question"]
      ),
      c["start"],
      scenes * per_scene * c["question, joined alone"],
    ),
    *(
      Stage(
        f"pictures {size}",
        split_units(scenes, PICTURES_PER_UNIT, c[f"picture {size}"]),
        c[f"start, pictures {size}"],
      )
      for size in ("128x128", "480x320")
    ),
    Stage(
      "records of pictures",
      split_units(scenes, SCENES_PER_SHARD, c["scene, converted"]),
      c["start"],
      scenes * per_scene * c["question, read alone"],
    ),
    Stage(
      "descriptors",
      split_units(scenes, IMAGES_PER_PART, c["descriptor"]),
      c["start, descriptors"],
    ),
    *(
      Stage(
        f"distances, {name} queries",
        split_units(number, QUERIES_PER_PART, pairs),
        c["start"],
      )
      for name, number in ((f"{NUM_QUERIES}", NUM_QUERIES), ("all", scenes))
    ),
  ]


def limit(stage: Stage, workers: int) -> str:
  """Says what most of a stage's time is: "work", or what more workers keep."""
  work = sum(stage.units) / workers
  waiting = finish(stage.units, workers) - work
  parts = {
    "work": work,
    "one process": stage.alone,
    "start": stage.start,
    f"{len(stage.units):,} units": waiting,
  }
  return max(parts, key=lambda name: parts[name])


def rows_of(
  plan: Sequence[Stage], workers: Sequence[int], price: float, failure: float
) -> list[tuple]:
  """Returns rows for a table: each stage with each number of workers.

  Returns:
    Stage, units, their core hours, workers, hours, price, what limits it.
  """
  rows = []
  for stage in plan:
    work = len(stage.units), sum(stage.units) / 3600
    for number in workers:
      last = finish(stage.units, number, stage.start, failure)
      hours = (stage.alone + last) / 3600
      paid = number * hours * price
      rows.append(
        (stage.name, *work, number, hours, paid, limit(stage, number))
      )
  return rows


def run(
  scenes: int,
  questions_per_scene: float,
  workers: Sequence[str],
  price: float,
  failure: float,
  costs: str,
) -> list[tuple]:
  """Prints the tables and returns the rows; see the flags below.

  Raises:
    ValueError: A scene cannot have so many questions.
  """
  groups = json.loads(Path(costs).read_text())
  most = groups["files_of_all"]["questions a scene"]
  if questions_per_scene > most:
    raise ValueError(
      f"questions_per_scene is {questions_per_scene}, but a scene takes one "
      f"question of each family, {most:.1f} as a rule; plan for "
      f"{math.ceil(scenes * questions_per_scene / most):,} scenes"
    )
  few = questions_per_scene <= groups["files"]["questions a scene"]
  del groups["files_of_all" if few else "files"]
  seconds = {k: v for g in groups.values() for k, v in g["seconds"].items()}
  sizes = {k: v for g in groups.values() for k, v in g["bytes"].items()}
  for group in groups.values():
    print(group["command"], group["machine"], sep=": ")
  print()
  timing.print_table(("what", "CPU seconds"), list(seconds.items()))
  number = round(scenes * questions_per_scene)
  print(f"\n{scenes:,} scenes, {number:,} questions, failure {failure}")
  print(f"A core hour costs {price} (an assumption)\n")
  plan = stages(seconds, scenes, questions_per_scene)
  rows = rows_of(plan, [int(w) for w in workers], price, failure)
  timing.print_table(
    ("stage", "units", "core h", "workers", "h", "price", "limit"), rows
  )
  print()
  counts = {"question": number, "distance": scenes**2}
  table = [
    (what, float(size), size * counts.get(what.split(",")[0], scenes) / 1e9)
    for what, size in sizes.items()
  ]
  timing.print_table(("what", "bytes of one", "GB in all"), table)
  return rows


if __name__ == "__main__":
  timing.main(
    run,
    [
      flags.DEFINE_integer(
        "scenes", 1_000_000, "Each with a picture.", lower_bound=1
      ),
      flags.DEFINE_float(
        "questions_per_scene",
        10.0,
        "Of a scene, on average; at most what all families give.",
        lower_bound=0,
      ),
      flags.DEFINE_list("workers", ["1", "16", "256"], "Each with a core."),
      flags.DEFINE_float(
        "price", 0.04, "Of an hour of a core, in any currency; an assumption."
      ),
      flags.DEFINE_float("failure", 0.0, "Probability that a unit fails."),
      cli.path_flag("costs", str(COSTS), "File of benchmarks.unit_costs."),
    ],
  )
