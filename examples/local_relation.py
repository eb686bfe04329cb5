"""Compares an LR-Net with a ResNet on clean and on attacked pictures.

    python -m examples.local_relation

Both have 26 layers of about a quarter of the published widths, and about the
same number of parameters; windows are 5x5, in place of 7x7. They learn to tell
shapes apart in small pictures that are drawn here. Then they are tested on new
pictures, as they are and as changed by ten steps of the gradient's sign, within
a distance, against the network at hand (PGD, untargeted).

It shows how the layers are used, and what the LR-Net needs: with the prior of
its windows as small as a dense layer's, all of them begin as averages of their
neighbourhood, in which shapes are lost. One seed of a toy says nothing about
which network is the better.
"""

import functools
import math
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rn_jax.models.context.lr_net import STAGE_SIZES, BottleneckNetwork

SHAPES = ("disc", "square", "triangle", "cross")
SIDE = 32
NUM_TRAIN, NUM_TEST = 4096, 512
BATCH = 64
RADIUS = 0.02  # of the perturbation of each number, which are from 0 to 1
ATTACK_STEPS = 10

OUTPUTS = (64, 128, 256, 512)
# Spatial layer, widths, and the scale of the prior.
NETWORKS = {
  "LR-Net-26": ("local_relation", (24, 48, 96, 192), 15.0),
  "ResNet-26": ("convolution", (16, 32, 64, 128), 1.0),
}


def draw(rng, count):
  """Returns pictures, [count, SIDE, SIDE, 3] in [0, 1], and their labels."""
  label = rng.integers(len(SHAPES), size=count)
  line = np.linspace(-1, 1, SIDE)
  centre = rng.uniform(-0.3, 0.3, (2, count, 1, 1))
  size = rng.uniform(0.4, 0.65, (count, 1, 1))
  x = (line[None, None] - centre[0]) / size
  y = (line[None, :, None] - centre[1]) / size
  inside = np.select(
    [(label == i)[:, None, None] for i in range(len(SHAPES))],
    [
      x**2 + y**2 < 1,
      np.maximum(abs(x), abs(y)) < 0.9,
      (abs(x) < (y + 1) / 2) & (y < 1),
      (np.minimum(abs(x), abs(y)) < 0.35) & (np.maximum(abs(x), abs(y)) < 1),
    ],
  )
  ground, color = (
    rng.uniform(*bounds, (count, 1, 1, 3)) for bounds in ((0, 0.4), (0.5, 1))
  )
  image = np.where(inside[..., None], color, ground)
  image += rng.normal(scale=0.05, size=image.shape)
  return np.clip(image, 0, 1).astype(np.float32), label


def normalize(image):
  return (image - 0.5) / 0.25


@functools.partial(jax.jit, static_argnums=0)
def attack(model, variables, image, attacked, label, step):
  """Moves `attacked`, which is near `image`, to where the loss is higher.

  Returns:
    The moved pictures, and which of those before were recognised, [B].
  """

  def loss(attacked):
    logits = model.apply(variables, normalize(attacked), train=False)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    return losses.sum(), logits.argmax(-1) == label

  gradient, right = jax.grad(loss, has_aux=True)(attacked)
  moved = attacked + step * jnp.sign(gradient)
  moved = jnp.clip(moved, image - RADIUS, image + RADIUS)
  return jnp.clip(moved, 0, 1), right


@functools.partial(jax.jit, static_argnums=(0, 1))
def update(model, optimizer, variables, state, image, label):
  """Makes one update; returns variables and the optimizer's state."""

  def loss(params):
    logits, changes = model.apply(
      {**variables, "params": params},
      normalize(image),
      train=True,
      mutable="batch_stats",
    )
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    return losses.mean(), changes

  gradients, changes = jax.grad(loss, has_aux=True)(variables["params"])
  updates, state = optimizer.update(gradients, state)
  params = optax.apply_updates(variables["params"], updates)
  return {"params": params, **changes}, state


def train(model, images, labels, steps):
  """Returns the variables of a trained network."""
  rng = np.random.default_rng(1)
  init = jax.jit(functools.partial(model.init, train=False))
  variables = init(jax.random.key(0), images[:1])
  rate = optax.warmup_cosine_decay_schedule(0, 1e-2, steps // 10, steps)
  optimizer = optax.adam(rate)
  state = optimizer.init(variables["params"])
  for _ in range(steps):
    batch = rng.choice(len(images), BATCH, replace=False)
    variables, state = update(
      model, optimizer, variables, state, images[batch], labels[batch]
    )
  return variables


def measure(model, variables, images, labels):
  """Returns the accuracy on clean and on attacked pictures."""
  rng = np.random.default_rng(2)
  right = []
  for start in range(0, len(images), BATCH):
    image = images[start : start + BATCH]
    label = labels[start : start + BATCH]
    step = functools.partial(attack, model, variables, image)
    clean = step(image, label, 0.0)[1]
    noise = rng.uniform(-RADIUS, RADIUS, image.shape).astype(np.float32)
    attacked = np.clip(image + noise, 0, 1)
    for _ in range(ATTACK_STEPS):
      attacked, _ = step(attacked, label, RADIUS / 4)
    right.append((clean, step(attacked, label, 0.0)[1]))
  return np.mean(right, (0, 2))


def compare(
  steps=200, num_train=NUM_TRAIN, num_test=NUM_TEST, stage_sizes=STAGE_SIZES[26]
):
  """Trains and tests the networks; yields a row of each."""
  train_data = draw(np.random.default_rng(3), num_train)
  test_data = draw(np.random.default_rng(4), num_test)
  for name, (spatial, widths, prior_scale) in NETWORKS.items():
    start = time.perf_counter()
    model = BottleneckNetwork(
      spatial,
      len(SHAPES),
      stage_sizes,
      widths[: len(stage_sizes)],
      OUTPUTS[: len(stage_sizes)],
      stem=16,
      kernel=5,
      prior_scale=prior_scale,
    )
    variables = train(model, *train_data, steps)
    clean, attacked = measure(model, variables, *test_data)
    size = sum(math.prod(x.shape) for x in jax.tree.leaves(variables["params"]))
    yield name, size, clean, attacked, time.perf_counter() - start


def main():
  print("network     parameters  clean  attacked  seconds")
  for name, size, clean, attacked, seconds in compare():
    print(
      f"{name:11} {size:10,d} {clean:6.1%} {attacked:9.1%} {seconds:8.0f}",
      flush=True,
    )


if __name__ == "__main__":
  main()
