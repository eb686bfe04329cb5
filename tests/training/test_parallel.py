"""One global batch gives one result, however many devices share it.

The runs are subprocesses, because the number of devices is fixed when JAX
starts. Batch statistics, dropout, augmentation, mirrors and clipping are on.
"""

import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from places import ROOT

from rn_jax import hosts, parallel
from rn_jax.checkpoint import load_model
from rn_jax.data.dataset import load_dataset
from rn_jax.data.input_pipeline import Feed, make_batch
from rn_jax.data.train_order import TrainOrder
from rn_jax.optimizer import make_optimizer, make_schedule
from rn_jax.steps import (
  init_state,
  make_model,
  make_predict_step,
  make_train_step,
)


def start(workdir, records_dir, *flags, devices):
  environment = dict(
    os.environ,
    JAX_PLATFORMS="cpu",
    XLA_FLAGS=f"{os.environ.get('XLA_FLAGS', '')} "
    f"--xla_force_host_platform_device_count={devices}",
  )
  command = [
    sys.executable,
    "launch.py",
    "--config=configs/tiny.py:original_fp",
    f"--workdir={workdir}",
    f"--config.data.dir={records_dir}",
    "--config.data.questions_per_scene=2",
    "--config.data.symmetries=('mirror',)",
    "--config.train.batch_size=16",
    "--config.train.num_epochs=2",
    "--config.train.log_every=1",
    "--config.optimizer.clip_norm=0.5",
    # Few layers, which compile sooner.
    "--config.model.g_units=(32, 32)",
    "--config.model.g_dropout=(0.1, 0.0)",
    "--config.model.f_units=(32,)",
    "--config.model.f_dropout=(0.5,)",
    *flags,
  ]
  return subprocess.Popen(
    command,
    cwd=ROOT,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def free_port():
  with socket.socket() as listener:
    listener.bind(("localhost", 0))
    return listener.getsockname()[1]


@pytest.fixture(scope="module")
def workdirs(records_dir, tmp_path_factory):
  """The same training on one device, on four, and on two processes of two."""
  root = tmp_path_factory.mktemp("parallel")
  address = f"localhost:{free_port()}"
  runs = {
    "one": [start(root / "one", records_dir, devices=1)],
    "four": [start(root / "four", records_dir, devices=4)],
    "two_by_two": [
      start(
        root / "two_by_two",
        records_dir,
        f"--coordinator_address={address}",
        "--num_processes=2",
        f"--process_id={number}",
        devices=2,
      )
      for number in range(2)
    ],
  }
  for processes in runs.values():
    for process in processes:
      output, _ = process.communicate(timeout=300)
      assert process.returncode == 0, output[-3000:]
  return {name: root / name for name in runs}


_TIMES = ("time", "train/samples_per_second", "train/host_wait_ms")
# Of twenty questions; one that is nearly a tie may fall either way.
_COUNTS = re.compile(r"accuracy|invalid_rate|by_")


def read(workdir):
  variables, _ = load_model(workdir, "latest")
  lines = [
    json.loads(line)
    for line in (workdir / "metrics.jsonl").read_text().splitlines()
  ]
  result = json.loads((workdir / "eval_val.json").read_text())
  return variables, lines, result


@pytest.mark.parametrize("name", ["four", "two_by_two"])
def test_devices_and_processes_make_no_difference(name, workdirs):
  expected, expected_lines, expected_result = read(workdirs["one"])
  found, lines, result = read(workdirs[name])
  assert len(lines) == len(expected_lines)
  # Before Adam has made much of rounding errors, they agree closely.
  first, expected_first = (
    next(line for line in all_lines if line["step"] == 1)
    for all_lines in (lines, expected_lines)
  )
  for key in ("train/loss", "train/accuracy", "train/gradient_norm"):
    assert first[key] == pytest.approx(expected_first[key], rel=1e-5), key
  for line, expected_line in zip(lines, expected_lines, strict=True):
    for key, value in expected_line.items():
      if value is None:
        assert line[key] is None, key
      elif key not in _TIMES and not _COUNTS.search(key):
        assert line[key] == pytest.approx(value, rel=2e-3, abs=1e-5), key
  assert result["num_examples"] == expected_result["num_examples"] == 20
  leaves = jax.tree_util.tree_leaves_with_path(expected)
  for (path, a), b in zip(leaves, jax.tree.leaves(found), strict=True):
    key = jax.tree_util.keystr(path)
    if "conv_" in key and key.endswith("['bias']") and "batch" not in key:
      continue  # BatchNorm takes it away: its gradient is rounding alone
    np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-4, err_msg=key)


def test_only_one_process_writes(workdirs):
  lines = (workdirs["two_by_two"] / "metrics.jsonl").read_text().splitlines()
  steps = [json.loads(line)["step"] for line in lines if "train/loss" in line]
  assert steps == sorted(set(steps))
  config = json.loads((workdirs["two_by_two"] / "config.json").read_text())
  assert config["processes"] == 2
  assert len(config["devices"]) == 4


def test_a_batch_that_does_not_divide_is_refused(monkeypatch):
  monkeypatch.setattr(jax, "device_count", lambda: 3)
  parallel.check_divides(9, "config.train.batch_size=9")
  with pytest.raises(ValueError, match=r"batch_size=8 makes 8 scenes.* 3 dev"):
    parallel.check_divides(8, "config.train.batch_size=8")


def test_flags_of_a_distributed_run_go_together():
  with pytest.raises(ValueError, match="go together"):
    hosts.join("localhost:1", None, 0)


def test_slurm_and_tpu_pods_start_by_themselves(monkeypatch):
  calls = []
  monkeypatch.setattr(
    jax.distributed, "initialize", lambda *args, **_: calls.append(args)
  )
  monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
  present = []
  monkeypatch.setattr(
    importlib.util, "find_spec", lambda name: name in present or None
  )
  hosts.join(None, None, None)
  assert calls == []
  with monkeypatch.context() as context:
    context.setenv("SLURM_STEP_NUM_TASKS", "4")
    hosts.join(None, None, None)
  present.append("libtpu")
  hosts.join(None, None, None)
  assert calls == [(), ()]
  hosts.join("localhost:1234", 8, 3)
  assert calls[-1] == ("localhost:1234", 8, 3)


@pytest.mark.parametrize(
  ("tasks", "devices"), [("1", "all"), ("1(x2)", "all"), ("8(x2)", "3")]
)
def test_a_task_of_slurm_that_is_alone_on_its_host_has_all_gpus(
  monkeypatch, tasks, devices
):
  # As JAX does: each task gets the device of its number.
  found = {}
  monkeypatch.setattr(jax.config, "update", found.__setitem__)
  monkeypatch.setattr(
    jax.distributed,
    "initialize",
    lambda: found.update(jax_cuda_visible_devices="3"),
  )
  monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "16")
  monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", tasks)
  hosts.join(None, None, None)
  assert found["jax_cuda_visible_devices"] == devices


def test_a_tpu_without_a_pod_is_a_single_host(monkeypatch):
  def initialize():
    raise ValueError("coordinator_address should be defined.")

  monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
  monkeypatch.setattr(jax.distributed, "initialize", initialize)
  hosts.join(None, None, None)


def test_processes_save_and_stop_at_one_update(records_dir, tmp_path, request):
  # Their clocks differ, and only one of them gets the signal.
  address = f"localhost:{free_port()}"
  processes = [
    start(
      tmp_path,
      records_dir,
      "--config.train.num_epochs=100000",
      "--config.train.eval_every=100000",
      "--config.train.checkpoint_minutes=0.02",
      f"--coordinator_address={address}",
      "--num_processes=2",
      f"--process_id={number}",
      devices=1,
    )
    for number in range(2)
  ]
  for process in processes:  # or they would train on where this test fails
    request.addfinalizer(process.wait)
    request.addfinalizer(process.kill)
  folder = tmp_path / "checkpoints"
  deadline = time.monotonic() + 120
  while not any(p.name not in ("0",) for p in folder.glob("[0-9]*[0-9]")):
    assert all(process.poll() is None for process in processes)
    assert time.monotonic() < deadline
    time.sleep(0.1)
  processes[1].send_signal(signal.SIGTERM)
  stopped = []
  for process in processes:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, output[-3000:]
    words = output.split("Stopped by a signal after update ")[1]
    stopped.append(int(words.split(",")[0]))
  assert stopped[0] == stopped[1]
  assert (folder / str(stopped[0])).is_dir()


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("name", ["original_fp", "avf_sd"])
def test_the_steps_lower_for_accelerators(platform, name, make_config):
  config = make_config(
    name, **{"model.scenes_per_block": None, "model.dtype": "bfloat16"}
  )
  dataset = load_dataset(config.data, config.model.inputs, "val")
  per_scene = config.data.questions_per_scene
  order = TrainOrder(dataset.questions["scene"], 2 * per_scene, per_scene, 0)
  model = make_model(
    config,
    len(dataset.vocabulary["questions"]),
    len(dataset.vocabulary["answers"]),
  )
  schedule = make_schedule(config.optimizer, order.steps_per_epoch, 10)
  optimizer = make_optimizer(config.optimizer, schedule)
  feed = Feed(dataset, on_device=True)
  batch = feed.batch(order(0))
  example = make_batch(dataset, order(0)[:1])
  state = jax.eval_shape(lambda: init_state(model, optimizer, example, 0))
  variables = {"params": state.params, "batch_stats": state.batch_stats}
  for mapped, first in (
    (
      parallel.pmap_train_step(
        make_train_step(model, optimizer, schedule, config)
      ),
      state,
    ),
    (parallel.pmap_predict_step(make_predict_step(model)), variables),
  ):
    exported = jax.export.export(jax.jit(mapped), platforms=[platform])(
      first, feed.tables, batch
    )
    assert exported.platforms == (platform,)
    assert "stablehlo.dot_general" in exported.mlir_module()


def test_what_is_compiled_is_said_before_and_after(caplog):
  messages = []

  def step(state, tables, batch):
    messages.append(caplog.messages[-1])  # while it is traced
    return state + batch["x"].sum(), {}

  caplog.set_level("INFO", "absl")
  for mapped, what in (
    (parallel.pmap_train_step(step), "updates"),
    (parallel.pmap_predict_step(step), "predictions"),
  ):
    caplog.clear()
    for size in (1, 2, 2, 1):
      batch = parallel.split_over_devices({"x": np.ones(size)})
      mapped(parallel.replicate(np.float32(0)), {}, batch)
    assert messages.pop() == messages.pop() == f"Compiling {what} ..."
    assert len(caplog.messages) == 4  # for each of two shapes
    assert re.fullmatch(rf"Compiled {what} in \d+\.\d s", caplog.messages[1])


def test_the_training_step_compiles_once_and_makes_several_updates(make_config):
  # Any difference in sharding or type between the first state and later ones
  # would compile the step a second time.
  config = make_config()
  dataset = load_dataset(config.data, "states", "train")
  order = TrainOrder(dataset.questions["scene"], 8, 1, 0)
  model = make_model(
    config,
    len(dataset.vocabulary["questions"]),
    len(dataset.vocabulary["answers"]),
  )
  optimizer = make_optimizer(
    config.optimizer, make_schedule(config.optimizer, 5.0, 10)
  )
  step = make_train_step(model, optimizer, lambda _: 1e-3, config)
  traces = []

  def counted(*args):
    traces.append(1)
    return step(*args)

  mapped = parallel.pmap_train_step(counted)
  example = make_batch(dataset, order(0)[:1])
  fresh = jax.device_get(init_state(model, optimizer, example, 0))
  state = parallel.replicate(fresh)
  feed = Feed(dataset, on_device=True)
  metrics = []
  for number in range(3):
    groups = order(number)
    state, at_step = mapped(state, feed.tables, feed.batch(groups))
    metrics.append(at_step)
  assert int(state.step) == 3
  assert len(traces) == 1

  # Three updates in one call, of indices and of what the host gathered.
  groups = np.stack([order(number) for number in range(3)])
  for on_device in (True, False):
    feed = Feed(dataset, on_device)
    several = parallel.pmap_train_step(parallel.several_updates(step))
    state_of_call, metrics_of_call = several(
      parallel.replicate(fresh), feed.tables, feed.batch(groups)
    )
    for name, values in metrics_of_call.items():
      expected = [at_step[name] for at_step in metrics]
      np.testing.assert_allclose(values, expected, rtol=1e-4, err_msg=name)
    leaves = zip(*map(jax.tree.leaves, (state, state_of_call)), strict=True)
    for a, b in leaves:
      np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
