"""Our networks against the reference's, written here in plain NumPy loops."""

import jax
import ml_collections
import numpy as np
import pytest

from rn_jax.interop.recognize import recognize
from rn_jax.interop.reference_names import strip_prefix, to_variables
from rn_jax.models import RelationNetwork

NUM_WORDS, NUM_ANSWERS = 6, 3
CHANNELS = (4, 5, 6, 8)
EMBEDDING, UNITS = 3, 4
G_UNITS, F_UNITS = (9, 8, 10, 9), (12, 11)


def make_tensors(rng, inputs, question_layer):
  """Random tensors under the reference's names, in PyTorch's layout."""
  tensors = {}

  def layer(name, shape):
    fan_in = np.prod(shape[1:])
    tensors[f"{name}.weight"] = rng.normal(0, (2 / fan_in) ** 0.5, shape)
    tensors[f"{name}.bias"] = rng.normal(0, 0.5, shape[0])

  features = 7
  # On state descriptions the reference has a conv encoder and ignores it.
  before = 3
  for i, channels in enumerate(CHANNELS, start=1):
    layer(f"conv.conv{i}", (channels, before, 3, 3))
    norm = f"conv.batchNorm{i}"
    tensors[f"{norm}.weight"] = rng.uniform(0.5, 2, channels)
    tensors[f"{norm}.bias"] = rng.normal(0, 0.5, channels)
    tensors[f"{norm}.running_mean"] = rng.normal(0, 1, channels)
    tensors[f"{norm}.running_var"] = rng.uniform(0.5, 2, channels)
    tensors[f"{norm}.num_batches_tracked"] = np.array(7)
    before = channels
  if inputs == "pixels":
    features = CHANNELS[-1] + 2
  tensors["text.wembedding.weight"] = rng.normal(
    0, 1, (NUM_WORDS + 1, EMBEDDING)
  )
  for name, shape in {
    "weight_ih_l0": (4 * UNITS, EMBEDDING),
    "weight_hh_l0": (4 * UNITS, UNITS),
    "bias_ih_l0": (4 * UNITS,),
    "bias_hh_l0": (4 * UNITS,),
  }.items():
    tensors[f"text.lstm.{name}"] = rng.normal(0, 0.7, shape)
  before = G_UNITS[-1]
  for i, units in enumerate((*F_UNITS, NUM_ANSWERS), start=1):
    layer(f"rl.f_fc{i}", (units, before))
    before = units
  before = 2 * features
  for i, units in enumerate(G_UNITS):
    joined = UNITS if i == question_layer else 0
    layer(f"rl.g_layers.{i}", (units, before + joined))
    before = units
  return {
    f"module.{name}": np.asarray(array, np.float32)
    for name, array in tensors.items()
  }


def linear(weights, name, x):
  return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]


def relu(x):
  return np.maximum(x, 0)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def image_objects(weights, image):
  """[H, W, 3] in 0..255 -> the cells, row by row, with x and y behind."""
  x = image.transpose(2, 0, 1) / 255
  for i in range(1, len(CHANNELS) + 1):
    kernel, norm = weights[f"conv.conv{i}.weight"], f"conv.batchNorm{i}"
    size = x.shape[1]
    padded = np.zeros((len(x), size + 2, size + 2))
    padded[:, 1:-1, 1:-1] = x
    x = np.zeros((len(kernel), size // 2, size // 2))
    for channel in range(len(kernel)):
      for row in range(size // 2):
        for column in range(size // 2):
          window = padded[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
          x[channel, row, column] = (kernel[channel] * window).sum()
      x[channel] += weights[f"conv.conv{i}.bias"][channel]
      mean = weights[f"{norm}.running_mean"][channel]
      var = weights[f"{norm}.running_var"][channel]
      x[channel] = (x[channel] - mean) / np.sqrt(var + 1e-5)
      x[channel] *= weights[f"{norm}.weight"][channel]
      x[channel] += weights[f"{norm}.bias"][channel]
    x = relu(x)
  coordinates = np.linspace(-4, 4, x.shape[1])
  return [
    np.array([*x[:, row, column], coordinates[column], coordinates[row]])
    for row in range(x.shape[1])
    for column in range(x.shape[2])
  ]


def read_question(weights, question):
  """Reads the padded row from its end: padding first, as words like others."""
  hidden, cell = np.zeros(UNITS), np.zeros(UNITS)
  for word in question[::-1]:
    gates = (
      weights["text.lstm.weight_ih_l0"]
      @ (weights["text.wembedding.weight"][word])
    )
    gates = gates + weights["text.lstm.bias_ih_l0"]
    gates = gates + weights["text.lstm.weight_hh_l0"] @ hidden
    gates = gates + weights["text.lstm.bias_hh_l0"]
    i, f, g, o = (gates[n * UNITS : (n + 1) * UNITS] for n in range(4))
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    hidden = sigmoid(o) * np.tanh(cell)
  return hidden


def reference_logits(tensors, scene, question, inputs, question_layer):
  weights = {
    name.removeprefix("module."): array.astype(np.float64)
    for name, array in tensors.items()
  }
  objects = image_objects(weights, scene) if inputs == "pixels" else scene
  code = read_question(weights, question)
  total = np.zeros(G_UNITS[-1])
  for p in objects:
    for q in objects:
      x = np.concatenate([q, p])
      for i in range(len(G_UNITS)):
        if i == question_layer:
          x = np.concatenate([x, code])
        x = relu(linear(weights, f"rl.g_layers.{i}", x))
      total += x
  x = relu(linear(weights, "rl.f_fc1", total))
  x = relu(linear(weights, "rl.f_fc2", x))
  return linear(weights, "rl.f_fc3", x)


@pytest.mark.parametrize("question_layer", [0, 2])
@pytest.mark.parametrize("inputs", ["pixels", "states"])
def test_equals_the_reference(inputs, question_layer):
  rng = np.random.default_rng(question_layer)
  tensors = make_tensors(rng, inputs, question_layer)
  images = rng.integers(0, 256, (2, 32, 32, 3), np.uint8)
  objects = rng.normal(0, 2, (2, 4, 7)).astype(np.float32)
  objects[1, 3] = 0  # A row without an object takes part all the same.
  questions = np.array(
    [[[1, 2, 3, 0, 0], [4, 5, 0, 0, 0]], [[6, 1, 2, 3, 4], [2, 0, 0, 0, 0]]]
  )

  stripped = strip_prefix(tensors)
  name, config = recognize(stripped)
  kind = {"pixels": "fp", "states": "sd"}[inputs]
  assert name == {0: f"original-{kind}", 2: f"ir-{kind}"}[question_layer]
  variables = to_variables(stripped, config, NUM_WORDS, NUM_ANSWERS)
  config.model.scenes_per_block = 1
  model = RelationNetwork(
    ml_collections.FrozenConfigDict(config.model), NUM_WORDS, NUM_ANSWERS
  )
  batch = {
    "image": images,
    "objects": objects,
    "object_mask": objects.any(-1),
    "question": questions,
    "question_length": (questions > 0).sum(-1),
  }
  logits, _ = jax.jit(model.apply)(variables, batch)

  scenes = images if inputs == "pixels" else objects
  expected = np.array(
    [
      [
        reference_logits(tensors, scene, question, inputs, question_layer)
        for question in rows
      ]
      for scene, rows in zip(scenes, questions, strict=True)
    ]
  )
  # The network is alive: scenes and questions both matter.
  assert np.abs(expected[0] - expected[1]).max() > 0.1
  assert np.abs(expected[:, 0] - expected[:, 1]).max() > 0.1
  np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
