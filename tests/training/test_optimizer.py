"""Schedules by hand and the optimiser chain against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import common
from rn_jax.optimizer import doubling_schedule, make_optimizer, make_schedule


def make_config(**changes):
  config = common.get_config().optimizer
  config.update(changes)
  return config


def test_doubling_ends_on_the_references_plateau():
  # 699,989 questions in batches of 640.
  steps_per_epoch = 699_989 / 640
  schedule = make_schedule(make_config(), steps_per_epoch, 0)

  def rate(epoch):  # counted from 1, in the middle of the epoch
    return float(schedule((epoch - 0.5) * steps_per_epoch))

  assert rate(1) == pytest.approx(5e-6)
  assert rate(19) == pytest.approx(5e-6)
  assert rate(20) == pytest.approx(1e-5)
  assert rate(39) == pytest.approx(1e-5)
  assert rate(40) == pytest.approx(2e-5)
  assert rate(139) == pytest.approx(3.2e-4)
  # The check comes before the doubling: 3.2e-4 is below 5e-4.
  assert rate(140) == pytest.approx(6.4e-4)
  assert rate(160) == pytest.approx(6.4e-4)
  assert rate(493) == pytest.approx(6.4e-4)


def test_doubling_clamped_for_the_avf_network():
  schedule = make_schedule(make_config(clamp=True), 10.0, 0)
  assert float(schedule(10 * 138)) == pytest.approx(3.2e-4)
  assert float(schedule(10 * 139)) == pytest.approx(5e-4)


def test_doubling_of_the_paper():
  config = make_config(initial_learning_rate=1e-6, learning_rate=1e-4)
  schedule = make_schedule(config, 1.0, 0)
  rates = [float(schedule(step)) for step in range(400)]
  assert rates[0] == pytest.approx(1e-6)
  assert max(rates) == rates[-1] == pytest.approx(1.28e-4)
  steps = np.flatnonzero(np.diff(rates))
  np.testing.assert_array_equal(steps + 1, 19 + 20 * np.arange(7))


def test_doubling_that_starts_at_its_target_stays():
  config = make_config(initial_learning_rate=1e-3, learning_rate=1e-3)
  assert float(make_schedule(config, 1.0, 0)(1000)) == pytest.approx(1e-3)


def test_constant_and_cosine():
  constant = make_schedule(
    make_config(schedule="constant", learning_rate=2.5e-4), 10.0, 100
  )
  assert float(constant(0)) == float(constant(99)) == pytest.approx(2.5e-4)
  cosine = make_schedule(
    make_config(schedule="cosine", learning_rate=1.0, warmup_epochs=2.0),
    10.0,
    100,
  )
  assert float(cosine(0)) == 0.0
  assert float(cosine(10)) == pytest.approx(0.5)
  assert float(cosine(20)) == pytest.approx(1.0)
  assert float(cosine(60)) == pytest.approx(0.5)
  assert float(cosine(100)) == pytest.approx(0.0, abs=1e-6)


def test_falling_schedules():
  def rates(name, *epochs):
    config = make_config(
      schedule=name, learning_rate=1.0, decay_epochs=2.0, decay_rate=0.25
    )
    schedule = make_schedule(config, 10.0, 100)
    return [pytest.approx(float(schedule(10 * e)), abs=1e-6) for e in epochs]

  assert rates("exponential", 0, 1, 2, 4) == [1.0, 0.5, 0.25, 0.0625]
  assert rates("step", 0, 1.9, 2, 3.9, 4) == [1.0, 1.0, 0.25, 0.25, 0.0625]
  assert rates("restarts", 0, 1, 2, 3) == [1.0, 0.5, 1.0, 0.5]


def test_a_plateau_wants_a_rate_to_fall():
  for changes in ({"decay_rate": 1.0}, {"patience": 0}):
    config = make_config(schedule="plateau", **changes)
    with pytest.raises(ValueError, match="decay_rate between 0 and 1 and a"):
      make_optimizer(config, make_schedule(config, 1.0, 1))


@pytest.mark.parametrize(
  ("changes", "name"),
  [
    ({"schedule": "step", "decay_epochs": 0.0}, "decay_epochs"),
    ({"schedule": "exponential", "decay_epochs": -1.0}, "decay_epochs"),
    ({"schedule": "restarts", "decay_epochs": 0.0}, "decay_epochs"),
    ({"schedule": "exponential", "decay_rate": 1.5}, "decay_rate"),
    ({"schedule": "plateau", "final_learning_rate": 1.0}, "final_learning_"),
  ],
)
def test_a_schedule_that_would_not_fall_is_named(changes, name):
  config = make_config(**{"decay_epochs": 1.0, "decay_rate": 0.5} | changes)
  with pytest.raises(ValueError, match=f"config.optimizer.{name}"):
    make_optimizer(config, make_schedule(config, 1.0, 1))


def test_a_warm_up_that_never_ends_is_told(caplog):
  config = make_config(schedule="cosine", warmup_epochs=2.0)
  make_schedule(config, 10.0, 21)
  assert not caplog.text
  make_schedule(config, 10.0, 20)
  assert "warmup_epochs=2 are 20 updates, the whole run 20" in caplog.text
  config = make_config(schedule="cosine", warmup_epochs=0.0, hold_epochs=1.0)
  schedule = make_schedule(config, 10.0, 21)
  assert schedule(0) == schedule(9) == pytest.approx(config.learning_rate)


def test_unknown_schedule_and_impossible_rates_are_named():
  with pytest.raises(ValueError, match="'linear'"):
    make_schedule(make_config(schedule="linear"), 1.0, 1)
  with pytest.raises(ValueError, match="positive"):
    make_schedule(make_config(initial_learning_rate=0.0), 1.0, 1)


@pytest.mark.parametrize("decoupled", [False, True])
def test_the_chain_is_clip_then_l2_then_adam(decoupled):
  config = make_config(
    schedule="constant",
    learning_rate=0.1,
    weight_decay=0.5,
    clip_norm=1.0,
    decoupled_weight_decay=decoupled,
  )
  optimizer = make_optimizer(config, make_schedule(config, 1.0, 1))
  params = np.array([1.0, -2.0])
  state = optimizer.init(jnp.asarray(params))
  m = v = np.zeros(2)
  for step, gradient in enumerate([[3.0, 4.0], [0.3, 0.1]], start=1):
    updates, state = optimizer.update(
      jnp.array(gradient), state, jnp.asarray(params)
    )
    g = np.array(gradient)
    g = g / max(1.0, np.linalg.norm(g))
    if not decoupled:
      g = g + 0.5 * params
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    direction = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    if decoupled:
      direction = direction + 0.5 * params
    np.testing.assert_allclose(updates, -0.1 * direction, rtol=1e-4, atol=1e-6)
    params = params + np.asarray(updates)


def test_every_optimizer_goes_down_its_own_way():
  # From 1 down a parabola, two updates of rate 0.1.
  def go(name):
    config = make_config(
      name=name,
      schedule="constant",
      learning_rate=0.1,
      weight_decay=0.0,
      clip_norm=None,
    )
    optimizer = make_optimizer(config, make_schedule(config, 1.0, 1))
    x = jnp.array(1.0)
    state = optimizer.init(x)
    for _ in range(2):
      updates, state = optimizer.update(x, state, x)
      x += updates
    return float(x)

  # The gradient is x: 1 - 0.1, then 0.9 - 0.1 * (0.9 + 0.9 * 1).
  assert go("sgd") == pytest.approx(0.72)
  assert go("lion") == pytest.approx(0.8)  # the sign alone
  assert go("adam") == pytest.approx(0.8, abs=2e-3)
  found = {name: go(name) for name in ("adam", "nadam", "rmsprop")}
  assert len({round(x, 4) for x in found.values()}) == 3
  with pytest.raises(ValueError, match="'adamw', none of adam, lion"):
    go("adamw")


def test_muon_turns_matrices_and_leaves_the_rest_to_adam():
  config = make_config(
    name="muon",
    schedule="constant",
    learning_rate=1.0,
    weight_decay=0.0,
    clip_norm=None,
  )
  optimizer = make_optimizer(config, make_schedule(config, 1.0, 1))
  rng = np.random.default_rng(0)
  gradient = {
    "g_0": {"kernel": rng.normal(size=(6, 4)), "bias": rng.normal(size=4)},
    "embedding": {"embedding": rng.normal(size=(5, 3))},
    "logits": {"kernel": rng.normal(size=(4, 7))},
  }
  gradient = jax.tree.map(jnp.asarray, gradient)
  updates, _ = optimizer.update(gradient, optimizer.init(gradient), gradient)
  # The nearest matrix whose singular values are all alike, by five iterations
  # that bring them to about 1.
  u, _, v = np.linalg.svd(gradient["g_0"]["kernel"], full_matrices=False)
  found = -np.asarray(updates["g_0"]["kernel"])
  alike = np.linalg.svd(found, compute_uv=False) / (0.2 * 6**0.5)
  assert (alike > 0.6).all()
  assert (alike < 1.3).all()
  assert (found * (u @ v)).sum() > 0.97 * np.linalg.norm(found) * 2
  # Adam's first step is the sign; Nesterov's, which goes with it, is larger.
  for part in (
    lambda tree: tree["g_0"]["bias"],
    lambda tree: tree["embedding"]["embedding"],
    lambda tree: tree["logits"]["kernel"],
  ):
    ratio = np.asarray(part(updates) / jnp.sign(part(gradient)))
    np.testing.assert_allclose(ratio, ratio.flat[0], rtol=1e-4)
    assert -1.6 < ratio.flat[0] < -0.9


def test_doublings_may_be_closer_than_an_epoch():
  # Twenty epochs made shorter, as config.train.max_minutes does.
  schedule = doubling_schedule(1.0, 8.0, 100, 0.25)
  assert [float(schedule(step)) for step in (0, 24, 25, 50, 75, 1000)] == [
    *(2.0, 2.0, 4.0, 8.0, 8.0, 8.0)
  ]


def test_a_rate_that_never_falls_is_told(caplog):
  config = common.get_config().optimizer
  config.schedule, config.warmup_epochs, config.hold_epochs = "cosine", 0.1, 5.0
  make_schedule(config, 100.0, 300)
  assert "The learning rate never falls" in caplog.text
  assert "hold_epochs=5 are 500 updates, the whole run 300" in caplog.text
