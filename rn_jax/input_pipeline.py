"""Records to arrays in memory, and arrays to batches by index.

CLEVR's 70,000 training images are 3.4 GB at 128x128, so a split is read once
and kept. A batch is S scenes with K questions each: a scene's image is encoded
once for all its questions.
"""

import collections
import dataclasses
import io
from collections.abc import Callable, Iterator
from concurrent import futures

import ml_collections
import numpy as np
import tqdm
from PIL import Image

from rn_jax import records
from rn_jax.clevr import ATTRIBUTES

# Questions of a scene that are evaluated together; CLEVR has ten a scene.
EVALUATION_QUESTIONS_PER_SCENE = 10

_NUMBERS = ("answer", "question_type", "function", "question_index")


@dataclasses.dataclass(frozen=True)
class Dataset:
  """One split in memory.

  Attributes:
    split: Its name.
    scenes: From pixels `image` [S, H, W, 3] uint8; from states `objects`
      [S, N, 7] float32 (x, y, z and one-based attribute indices, zero rows
      behind) and `object_mask` [S, N] bool.
    questions: `question` [Q, T] int32, zero-padded; `question_length`,
      `answer` (zero-based, -1 where not published), `question_type`,
      `function`, `question_index`, `scene` (row in scenes), each [Q] int32.
    family: [Q] str.
    image_filename: [S] str.
    vocabulary: {"questions": {word: index}, "answers": {answer: index}}, both
      from 1.
  """

  split: str
  scenes: dict[str, np.ndarray]
  questions: dict[str, np.ndarray]
  family: np.ndarray
  image_filename: np.ndarray
  vocabulary: dict[str, dict[str, int]]

  @property
  def num_questions(self) -> int:
    return len(self.family)

  @property
  def answers(self) -> list[str]:
    """The answers by zero-based id."""
    return sorted(
      self.vocabulary["answers"], key=self.vocabulary["answers"].get
    )


def load_dataset(
  config: ml_collections.ConfigDict, inputs: str, split: str
) -> Dataset:
  """Reads a split of a records folder into memory.

  Args:
    config: The `data` part of a config.
    inputs: "pixels" or "states".
    split: Name of the split.

  Returns:
    The split.

  Raises:
    RecordError: The folder or a shard is unusable, or does not hold what the
      network reads (images of the right size, objects, short questions).
  """
  manifest = records.read_manifest(config.dir)
  num_scenes = manifest["splits"].get(split, {}).get("num_scenes")
  columns = collections.defaultdict(list)
  scenes = collections.defaultdict(list)
  progress = tqdm.tqdm(
    records.read_scenes(config.dir, split),
    total=num_scenes,
    desc=f"reading {split}",
    unit=" scenes",
    mininterval=1.0,
  )
  with futures.ThreadPoolExecutor() as pool:
    for row, scene in enumerate(progress):
      where = f"{config.dir}: {split} scene {scene['image_filename']}"
      scenes["image_filename"].append(scene["image_filename"])
      if inputs == "pixels":
        scenes["image"].append(
          pool.submit(_decode_image, scene["image"], config.image_size, where)
        )
      else:
        objects = state_description(scene["objects"], config.max_objects, where)
        scenes["objects"].append(objects)
        scenes["object_mask"].append(objects.any(-1))
      questions = scene["questions"]
      for name in _NUMBERS:
        columns[name].append(questions[name])
      columns["tokens"] += questions["tokens"]
      columns["family"] += questions["family"]
      columns["scene"].append(np.full(len(questions["tokens"]), row))
    if inputs == "pixels":
      scenes["image"] = [image.result() for image in scenes["image"]]
  return Dataset(
    split=split,
    image_filename=np.array(scenes.pop("image_filename")),
    scenes={name: np.stack(values) for name, values in scenes.items()},
    questions={
      "question": pad_questions(
        columns["tokens"], config.max_question_length, f"{config.dir}: {split}"
      ),
      "question_length": np.array(
        [len(tokens) for tokens in columns["tokens"]], np.int32
      ),
      **{
        name: np.concatenate(columns[name]).astype(np.int32)
        for name in (*_NUMBERS, "scene")
      },
    },
    family=np.array(columns["family"]),
    vocabulary=records.read_vocabulary(config.dir),
  )


def _decode_image(png: bytes | None, size: int, where: str) -> np.ndarray:
  if png is None:
    raise records.RecordError(
      f"{where} has no image: these records hold state descriptions only. "
      "Train with a *_sd config, or convert data with images"
    )
  try:
    image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
  except OSError as error:
    raise records.RecordError(
      f"{where}: its image cannot be decoded ({error}); convert it again"
    ) from None
  if image.shape != (size, size, 3):
    raise records.RecordError(
      f"{where} is {image.shape[1]}x{image.shape[0]} pixels, the network reads "
      f"{size}x{size}: convert with --image_size={size}, or set "
      "--config.data.image_size"
    )
  return image


def state_description(
  objects: dict[str, np.ndarray], max_objects: int, where: str
) -> np.ndarray:
  """Returns the rows [max_objects, 7] of a scene's objects; see Dataset.

  Raises:
    RecordError: There are no objects, or too many.
  """
  coordinates = objects["3d_coords"]
  if not 0 < len(coordinates) <= max_objects:
    raise records.RecordError(
      f"{where} has {len(coordinates)} objects; a network on state "
      f"descriptions reads 1 to {max_objects} (--config.data.max_objects)"
    )
  rows = np.zeros((max_objects, 3 + len(ATTRIBUTES)), np.float32)
  rows[: len(coordinates), :3] = coordinates
  for column, name in enumerate(ATTRIBUTES, start=3):
    rows[: len(coordinates), column] = objects[name] + 1
  return rows


def pad_questions(
  tokens: list[np.ndarray], max_length: int, where: str
) -> np.ndarray:
  """Returns token lists as rows padded with zeros, [Q, T] int32.

  Args:
    tokens: Q arrays of word indices.
    max_length: T; 0: the longest question.
    where: What to name in an error.

  Raises:
    RecordError: A question is longer than max_length.
  """
  longest = max((len(row) for row in tokens), default=0)
  if max_length and longest > max_length:
    raise records.RecordError(
      f"{where} has a question of {longest} words, more than "
      f"--config.data.max_question_length={max_length}; raise it"
    )
  padded = np.zeros((len(tokens), max_length or longest), np.int32)
  for row, words in zip(padded, tokens, strict=True):
    row[: len(words)] = words
  return padded


def group_questions(
  scene: np.ndarray, per_group: int, rng: np.random.Generator | None = None
) -> np.ndarray:
  """Groups questions by scene.

  Args:
    scene: [Q] the scene of each question.
    per_group: Questions in a group, K. A scene with more fills several.
    rng: Shuffles the questions within their scenes, and the groups. None:
      everything stays in order.

  Returns:
    [G, K] int64 question numbers, -1 in places left empty; each question is
    there once.
  """
  if per_group == 1 and rng is not None:
    return rng.permutation(len(scene))[:, None]
  tie = np.arange(len(scene)) if rng is None else rng.random(len(scene))
  order = np.lexsort((tie, scene))
  _, first, count = np.unique(
    scene[order], return_index=True, return_counts=True
  )
  position = np.arange(len(scene)) - np.repeat(first, count)
  groups_of_scene = -(-count // per_group)
  first_group = np.cumsum(groups_of_scene) - groups_of_scene
  group = np.repeat(first_group, count) + position // per_group
  groups = np.full((groups_of_scene.sum(), per_group), -1)
  groups[group, position % per_group] = order
  return groups if rng is None else rng.permutation(groups)


def make_batch(
  dataset: Dataset, groups: np.ndarray, with_scenes: bool
) -> dict[str, np.ndarray]:
  """Gathers groups of questions.

  Args:
    dataset: Where from.
    groups: [S, K] question numbers, -1 for none; a group that is all -1 is
      padding of the batch.
    with_scenes: Also gather the scenes' arrays; otherwise `image_index` stands
      for them.

  Returns:
    `question` [S, K, T]; `question_length`, `answer`, `mask` (which places
    hold a question) [S, K]; `image_index` [S], rows of dataset.scenes; with
    scenes also `image` or `objects` and `object_mask`.
  """
  rows = np.maximum(groups, 0)
  batch = {
    name: dataset.questions[name][rows]
    for name in ("question", "question_length", "answer")
  }
  batch["mask"] = groups >= 0
  image_index = dataset.questions["scene"][rows[:, 0]]
  if with_scenes:
    for name, values in dataset.scenes.items():
      batch[name] = values[image_index]
  else:
    batch["image_index"] = image_index
  return batch


class TrainOrder:
  """The endless order of training questions, a pure function of the step.

  Each epoch holds every question once, in an order of its own; epochs follow
  each other without a gap, so a batch may span two.
  """

  def __init__(
    self, scene: np.ndarray, batch_size: int, per_scene: int, seed: int
  ):
    """Plans the order.

    Args:
      scene: [Q] the scene of each question.
      batch_size: Questions per step, over all processes.
      per_scene: Questions of a scene that stay together.
      seed: Root of the order.

    Raises:
      ValueError: The batch does not hold a whole number of groups.
    """
    if batch_size % per_scene:
      raise ValueError(
        f"config.train.batch_size={batch_size} is not a multiple of "
        f"config.data.questions_per_scene={per_scene}"
      )
    self._scene, self._per_scene, self._seed = scene, per_scene, seed
    self._groups_per_step = batch_size // per_scene
    counts = np.bincount(scene)
    self._groups_per_epoch = int((-(-counts // per_scene)).sum())
    self._epochs: dict[int, np.ndarray] = {}

  @property
  def steps_per_epoch(self) -> float:
    return self._groups_per_epoch / self._groups_per_step

  def _epoch(self, epoch: int) -> np.ndarray:
    if epoch not in self._epochs:
      # Only neighbours are ever needed together.
      self._epochs = {k: v for k, v in self._epochs.items() if k == epoch - 1}
      rng = np.random.default_rng((self._seed, epoch))
      self._epochs[epoch] = group_questions(self._scene, self._per_scene, rng)
    return self._epochs[epoch]

  def __call__(self, step: int) -> np.ndarray:
    """Returns the groups [S, K] that update number `step` (from 0) reads."""
    start = step * self._groups_per_step
    positions = np.arange(start, start + self._groups_per_step)
    epochs, rows = np.divmod(positions, self._groups_per_epoch)
    return np.concatenate(
      [
        self._epoch(int(epoch))[rows[epochs == epoch]]
        for epoch in np.unique(epochs)
      ]
    )


def prefetch(make: Callable[[int], dict], steps: range) -> Iterator[dict]:
  """Yields make(step) for each step, made two steps ahead in a thread."""
  with futures.ThreadPoolExecutor(1) as pool:
    pending = collections.deque()
    try:
      for step in steps:
        pending.append(pool.submit(make, step))
        if len(pending) > 2:
          yield pending.popleft().result()
      while pending:
        yield pending.popleft().result()
    finally:
      for future in pending:
        future.cancel()
