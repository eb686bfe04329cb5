"""Which questions each update reads: a pure function of its number.

Questions come in epochs, each in an order of its own, after the stages of a
curriculum.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from rn_jax import parallel
from rn_jax.data.batch_growth import BatchGrowth
from rn_jax.data.curriculum import Stage, choose_questions, parse_stage
from rn_jax.data.dataset import WHOLE, Dataset, Share
from rn_jax.data.epochs import Epochs, count_groups


def make_train_order(
  config: ml_collections.ConfigDict, dataset: Dataset
) -> "TrainOrder":
  """Plans the order of a config, curriculum included, over a split.

  Where processes have shards of their own, all of them call it together.
  """
  scene, per_scene = dataset.questions["scene"], config.data.questions_per_scene
  of_all = len(scene), count_groups(scene, per_scene)
  if dataset.share.count > 1:
    of_all = parallel.sum_over_processes(*of_all)
  stages = [parse_stage(text) for text in config.data.curriculum]
  return TrainOrder(
    scene,
    config.train.batch_size,
    per_scene,
    config.seed,
    [(stage, choose_questions(dataset, stage)) for stage in stages],
    dataset.questions["answer"] if config.data.balance_answers else None,
    config.train.double_batch_every,
    config.train.max_batch_size,
    dataset.share,
    of_all,
  )


class TrainOrder:
  """The endless order of training questions, a pure function of the step.

  Each epoch holds every question once, in an order of its own, unless answers
  are balanced; epochs follow each other without a gap, so a batch may span two.
  A curriculum's stages come before them, each with epochs of its own questions.
  Processes that have shards of their own read as much each of every batch, from
  epochs of their own questions; what is counted is then of all of them.

  Attributes:
    share: The shards that the questions are of.
    stages: The curriculum.
    ends: The update, counted from 0, that is the first after each stage. They
      follow from the stages' questions, and from what `observe` was told.
  """

  def __init__(
    self,
    scene: np.ndarray,
    batch_size: int,
    per_scene: int,
    seed: int,
    stages: Sequence[tuple[Stage, np.ndarray]] = (),
    balanced: np.ndarray | None = None,
    double_every: float = 0.0,
    largest: int = 0,
    share: Share = WHOLE,
    of_all: Sequence[int] | None = None,
  ):
    """Plans the order.

    Args:
      scene: [Q] the scene of each question.
      batch_size: Questions per step, over all processes; the first step's.
      per_scene: Questions of a scene that stay together.
      seed: Root of the order.
      stages: The curriculum, each with the numbers of its questions.
      balanced: [Q] the answer of each question: an epoch, and a stage, reads
        as many questions as it has, but all answers alike often. None: each
        question once.
      double_every: Epochs between doublings of the batch; see BatchGrowth.
      largest: Questions of the largest batch.
      share: The shards that `scene` is of.
      of_all: How many questions, and groups of them, all processes have; None:
        those of `scene`.

    Raises:
      ValueError: The batch does not hold a whole number of groups, or balanced
        questions are to stay together; it is to grow within a curriculum, or
        in a way that BatchGrowth refuses.
    """
    if double_every and stages:
      raise ValueError(
        "the stages of config.data.curriculum are planned for batches of one "
        "size: leave them out, or set config.train.double_batch_every="
        f"{double_every:g} to 0"
      )
    if balanced is not None and per_scene != 1:
      raise ValueError(
        "config.data.balance_answers draws each question alone: set "
        f"config.data.questions_per_scene={per_scene} to 1"
      )
    if batch_size % per_scene:
      raise ValueError(
        f"config.train.batch_size={batch_size} is not a multiple of "
        f"config.data.questions_per_scene={per_scene}"
      )
    if of_all is None:
      of_all = len(scene), count_groups(scene, per_scene)
    self._num_questions, self._groups_per_epoch = of_all
    self.share, self._batch_size = share, batch_size
    self._groups_per_step = batch_size // per_scene
    self.stages = [stage for stage, _ in stages]
    lengths = [-(-stage.questions // batch_size) for stage in self.stages]
    self.ends = np.cumsum(lengths, dtype=int).tolist()
    self._seen, self._right = 0, 0.0  # updates since the last decision
    own = tuple(share) if share.count > 1 else ()
    self._epochs = [
      Epochs(scene, rows, per_scene, (seed, index, 0, *own), balanced)
      for index, (_, rows) in enumerate(stages)
    ]
    self._epochs.append(Epochs(scene, None, per_scene, (seed, *own), balanced))
    # Questions and groups of an epoch, of each stage and of all.
    self._sizes = [
      (len(rows), epochs.groups_per_epoch)
      for (_, rows), epochs in zip(stages, self._epochs, strict=False)
    ]
    self._sizes.append((self._num_questions, self._groups_per_epoch))
    self._growth = BatchGrowth(
      batch_size, self.steps_per_epoch, double_every, largest
    )

  @property
  def steps_per_epoch(self) -> float:
    """Updates in which all questions, of no stage, are read once.

    Of the first batch size, if it grows.
    """
    return self._groups_per_epoch / self._groups_per_step

  @property
  def grows(self) -> bool:
    """Whether there are batches of several sizes."""
    return len(self._growth.ratios) > 1

  def units(self, done: int) -> int:
    """Returns what `done` updates read, in batches of the first size."""
    return int(self._growth.units(done))

  def epoch(self, done: int) -> float:
    """Returns how many epochs `done` updates are."""
    return self.units(done) / self.steps_per_epoch

  def batch_size(self, step: int) -> int:
    """Returns the places for questions of an update's batch."""
    return self._growth.ratio(step) * self._batch_size

  def questions(self, done: int) -> int:
    """Returns how many questions `done` updates read.

    Groups of a scene that has fewer questions have empty places, so a batch
    has as many questions as one of its epochs on the average.
    """
    read, start = 0.0, 0
    units = self.units(done)
    for end, (questions, groups) in zip(
      [*self.ends, units], self._sizes, strict=True
    ):
      updates = max(0, min(end, units) - start)
      read += updates * self._groups_per_step * questions / groups
      start = end
    return round(read)

  def size_changes(self, done: int) -> bool:
    """Returns whether the batch after `done` updates is the first of a size."""
    return done > 0 and self._growth.ratio(done) != self._growth.ratio(done - 1)

  def paced(self, schedule: optax.Schedule) -> optax.Schedule:
    """Returns a schedule of updates as they are.

    Args:
      schedule: Of updates of the first batch size.
    """
    if not self.grows:
      return schedule
    return lambda step: schedule(self._growth.units(step, jnp))

  def num_steps(self, epochs: float, unit: str = "questions") -> int:
    """Returns the number of updates that come nearest to so many epochs.

    Args:
      epochs: May be a fraction.
      unit: What is read, for the error.

    Raises:
      ValueError: They are none, and nothing would be learned, or no more than
        the stages of the curriculum.
    """
    exact = epochs * self.steps_per_epoch
    if not exact > 0.5:  # round(0.5) is 0
      raise ValueError(
        f"{self._num_questions:,} {unit}, read in batches of "
        f"{self._batch_size:,} for {epochs:g} epochs, are {exact:.2g} updates, "
        f"so nothing would be learned: take more {unit}, a smaller "
        "--config.train.batch_size or more --config.train.num_epochs"
      )
    number = self._growth.steps(exact)
    if self.ends and number <= self.ends[-1]:
      raise ValueError(
        f"the stages of config.data.curriculum take {self.ends[-1]:,} updates, "
        f"the whole training has {number:,}: take more "
        "--config.train.num_epochs, or fewer questions a stage"
      )
    return number

  def stage(self, step: int) -> int:
    """Returns the number of an update's stage; behind all, len(ends)."""
    return int(np.searchsorted(self.ends, step, "right"))

  def observe(
    self, done: int, accuracies: np.ndarray, *, decide: bool, notice: int
  ) -> bool:
    """Ends a stage early, if its training accuracy has reached its level.

    Args:
      done: Updates made so far.
      accuracies: Of the last of them, all that were not observed yet.
      decide: Compare the mean since the last decision with the level.
      notice: Updates whose questions may have been read already: the next
        stage begins after them.

    Returns:
      Whether the stage ends.
    """
    index = self.stage(done)
    level = self.stages[index].accuracy if index < len(self.stages) else None
    if level is None:
      self._seen, self._right = 0, 0.0
      return False
    started = self.ends[index - 1] if index else 0
    self._seen += len(accuracies)
    self._right += float(np.sum(accuracies, dtype=np.float64))
    if not decide:
      return False
    seen, right = self._seen, self._right
    self._seen, self._right = 0, 0.0
    spared = self.ends[index] - (done + notice)
    all_of_stage = done - seen >= started
    if spared <= 0 or not all_of_stage or right < level * seen:
      return False
    self.ends[index:] = [end - spared for end in self.ends[index:]]
    return True

  def state(self) -> dict | None:
    """Returns, as JSON values, what a resumed run has to know, if anything."""
    state = {}
    if self.stages:
      state = {"ends": self.ends, "seen": self._seen, "right": self._right}
    if self.share.count > 1:
      state["processes"] = self.share.count
    return state or None

  def restore(self, state: dict | None) -> None:
    """Takes over the `state` of the run that is resumed.

    Raises:
      ValueError: Its shards were shared by another number of processes.
    """
    state = state or {}
    before = state.get("processes", 1)
    if before != self.share.count:
      raise ValueError(
        f"its shards were shared by {before} processes and are now by "
        f"{self.share.count}, so updates would read other questions: start "
        f"{before}"
      )
    if not self.stages:
      return
    self.ends = list(state["ends"])
    self._seen, self._right = state["seen"], state["right"]

  def __call__(self, step: int) -> np.ndarray:
    """Returns the groups [S, K] that update number `step` (from 0) reads.

    With shards of its own, those that this process reads, [S / processes, K].
    """
    index = self.stage(step)
    start = self.units(step) - (self.ends[index - 1] if index else 0)
    size = self._groups_per_step // self.share.count
    return self._epochs[index].read(
      start * size, self._growth.ratio(step) * size
    )
