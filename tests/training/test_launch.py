"""The command line, as its users call it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
from places import ROOT

import launch
from data_prep.convert_clevr import convert
from rn_jax import hosts
from rn_jax import publish as published
from rn_jax.checkpoint import load_model
from rn_jax.checkpoint_format import flatten
from rn_jax.publish import publish

ENVIRONMENT = dict(os.environ, JAX_PLATFORMS="cpu")


def run(*flags):
  return subprocess.run(
    [sys.executable, "launch.py", *map(str, flags)],
    cwd=ROOT,
    env=ENVIRONMENT,
    capture_output=True,
    text=True,
    timeout=300,
  )


@pytest.fixture(scope="module")
def trained(records_dir, tmp_path_factory):
  """A workdir left by the train command."""
  workdir = tmp_path_factory.mktemp("run")
  result = run(
    "--mode=train",
    "--config=configs/tiny.py:ir_fp",
    f"--workdir={workdir}",
    f"--config.data.dir={records_dir}",
    "--config.train.num_epochs=1",
    "--config.train.log_every=1",
  )
  assert result.returncode == 0, result.stderr[-3000:]
  # A table of the parameters, a rate and an ETA.
  assert "relation_core/g_2/kernel" in result.stderr
  assert "questions/s  ETA" in result.stderr
  # In the end it shows how to ask, and what the network says.
  assert f"--image={workdir}/example.png" in result.stderr
  assert re.search(r"\d %  \w+\n\nThe right answer is '\w+'", result.stderr)
  return workdir


def test_train_leaves_everything(trained):
  for name in (
    "config.json",
    "metrics.jsonl",
    "eval_val.json",
    "first_batch.png",
    "checkpoints",
  ):
    assert (trained / name).exists(), name
  names = {path.name for path in (trained / "plots").glob("*.png")}
  assert len(names) >= 4
  config = json.loads((trained / "config.json").read_text())
  assert config["config"]["model"]["question_layer"] == 2
  assert {"jax", "flax", "python"} <= set(config["versions"])
  lines = (trained / "metrics.jsonl").read_text().splitlines()
  fresh, first = (json.loads(line) for line in lines[:2])
  assert fresh["step"] == 0
  assert fresh["val/accuracy"] < 0.5
  assert {
    "train/gradient_norm",
    "train/parameter_norm",
    "train/update_norm",
    "train/samples_per_second",
    "train/learning_rate",
  } <= set(first)


def test_a_published_network_is_that_of_the_run(trained, tmp_path):
  card = publish(
    trained,
    tmp_path / "mine",
    {"val": trained / "eval_val.json"},
    "It cannot count to four.",
  ).read_text()
  variables, meta = load_model(trained)
  given, its_meta = load_model(tmp_path / "mine")
  for name, array in flatten(variables).items():
    np.testing.assert_array_equal(flatten(given)[name], array, err_msg=name)
  assert its_meta["config"]["data"]["dir"] == ""
  for path in (tmp_path / "mine").rglob("*"):
    if path.is_file():  # it may go anywhere, and tells of no machine
      assert str(tmp_path.parent).encode() not in path.read_bytes(), path
  assert its_meta["vocabulary"] == meta["vocabulary"]
  accuracy = json.loads((trained / "eval_val.json").read_text())["accuracy"]
  assert f"| **all** | {100 * accuracy:.1f} |" in card
  assert "It cannot count to four." in card
  assert "| `model.question_layer` | `2` |" in card
  assert its_meta["hashes"]["model"] in card
  names = {path.name for path in (tmp_path / "mine").iterdir()}
  assert names == {"README.md", "accuracy.png", "checkpoints"}
  assert "--checkpoint=mine " in card
  bare = publish(trained, tmp_path / "bare", {}).read_text()
  assert "## Accuracy" not in bare
  assert "## Training" in bare
  for items in ["eval.json"], ["=eval.json"], ["a=x", "a=y"]:
    with pytest.raises(ValueError, match="must be NAME=FILE"):
      published._main(str(trained), str(tmp_path / "no"), items, None)
  (tmp_path / "other.json").write_text("{}")
  with pytest.raises(ValueError, match="no complete evaluation"):
    publish(trained, tmp_path / "other", {"val": tmp_path / "other.json"})
  assert not (tmp_path / "other").exists()


def test_evaluate_needs_only_a_checkpoint(trained, tmp_path):
  trained_result = json.loads((trained / "eval_val.json").read_text())
  result = run(
    "--mode=evaluate", f"--checkpoint={trained}", f"--workdir={tmp_path}/new"
  )
  assert result.returncode == 0, result.stderr[-3000:]
  assert (tmp_path / "new" / "plots" / "confusion_val.png").exists()
  found = json.loads((tmp_path / "new" / "eval_val.json").read_text())
  for name in ("accuracy", "num_examples", "by_answer_class", "confusion"):
    assert found[name] == trained_result[name]
  assert {
    "loss",
    "invalid_rate",
    "by_question_type",
    "by_function",
    "by_family",
  } <= set(found)


def test_predict_writes_lines_and_a_submission(
  trained, records_dir, clevr_dir, tmp_path
):
  result = run(
    "--mode=predict",
    "--config=configs/tiny.py:ir_fp",
    f"--checkpoint={trained}",
    f"--workdir={tmp_path}",
    f"--config.data.dir={records_dir}",
    "--split=val",
  )
  assert result.returncode == 0, result.stderr[-3000:]
  asked = json.loads(
    (clevr_dir / "questions/CLEVR_val_questions.json").read_text()
  )["questions"]
  lines = [
    json.loads(line)
    for line in (tmp_path / "predictions_val.jsonl").read_text().splitlines()
  ]
  submission = (tmp_path / "submission_val.txt").read_text().splitlines()
  assert len(lines) == len(submission) == len(asked)
  for number, (line, word, question) in enumerate(
    zip(lines, submission, asked, strict=True)
  ):
    assert line["question_index"] == number
    assert line["image_filename"] == question["image_filename"]
    assert line["answer"] == question["answer"]
    assert line["prediction"] == word
    assert 0 < line["probability"] <= 1
  right = sum(line["answer"] == line["prediction"] for line in lines)
  accuracy = json.loads((trained / "eval_val.json").read_text())["accuracy"]
  assert right / len(lines) == pytest.approx(accuracy)


def test_questions_of_a_file_are_asked(trained, clevr_dir, tmp_path):
  path = tmp_path / "my questions.csv"
  path.write_text(
    "image,question,answer\n"
    "CLEVR_val_000003,How many cubes are there?,2\n"
    "CLEVR_val_000000,Is it nice?,yes\n"
  )
  flags = (f"--checkpoint={trained}", f"--workdir={tmp_path}")
  flags += (f"--questions={path}",)
  result = run("--mode=predict", *flags)
  assert result.returncode == 1
  assert f"{path}: 1 of 2 questions" in result.stderr.splitlines()[-1]
  result = run("--mode=evaluate", *flags, "--skip_unknown")
  assert result.returncode == 0, result.stderr[-3000:]
  assert "Skipped 1 of the 2 questions" in result.stdout
  found = json.loads((tmp_path / "eval_val_my questions.json").read_text())
  assert found["num_examples"] == 1


def test_predict_needs_no_answers(trained, clevr_dir, records_dir, tmp_path):
  # CLEVR's test split: images and questions, nothing else.
  source = tmp_path / "clevr"
  shutil.copytree(clevr_dir / "images" / "val", source / "images" / "test")
  asked = json.loads(
    (clevr_dir / "questions/CLEVR_val_questions.json").read_text()
  )["questions"]
  kept = ("image_index", "image_filename", "question")
  indices = [7 + 3 * row for row in range(len(asked))]  # a part of a whole
  test = [
    {key: q[key] for key in kept} | {"split": "test", "question_index": index}
    for q, index in zip(asked, indices, strict=True)
  ]
  (source / "questions").mkdir()
  (source / "questions/CLEVR_test_questions.json").write_text(
    json.dumps({"info": {"split": "test"}, "questions": test})
  )
  convert(
    source,
    tmp_path / "records",
    image_size=32,
    vocabulary=records_dir / "vocabulary.json",
    workers=1,
  )
  flags = (
    f"--checkpoint={trained}/checkpoints",
    f"--config.data.dir={tmp_path}/records",
    f"--workdir={tmp_path}",
    "--split=test",
  )
  result = run("--mode=predict", *flags)
  assert result.returncode == 0, result.stderr[-3000:]
  lines = (tmp_path / "predictions_test.jsonl").read_text().splitlines()
  assert [json.loads(line)["question_index"] for line in lines] == indices
  assert "answer" not in json.loads(lines[0])
  result = run("--mode=evaluate", *flags)
  assert result.returncode != 0
  assert "questions without an answer" in result.stderr
  assert "Traceback" not in result.stderr


def test_other_vocabularies_are_refused(
  trained, clevr_dir, records_dir, tmp_path
):
  vocabulary = json.loads((records_dir / "vocabulary.json").read_text())
  words = list(vocabulary["questions"])
  words[0], words[1] = words[1], words[0]
  vocabulary["questions"] = {w: i for i, w in enumerate(words, start=1)}
  path = tmp_path / "vocabulary.json"
  path.write_text(json.dumps(vocabulary))
  convert(
    clevr_dir,
    tmp_path / "records",
    splits=("val",),
    image_size=32,
    vocabulary=path,
    workers=1,
  )
  result = run(
    "--mode=evaluate",
    f"--checkpoint={trained}",
    f"--config.data.dir={tmp_path}/records",
    f"--workdir={tmp_path}",
  )
  assert result.returncode != 0
  assert "number questions differently" in result.stderr
  assert "Traceback" not in result.stderr


def test_ask_answers_in_words(trained, clevr_dir, tmp_path):
  image = next((clevr_dir / "images" / "val").glob("*.png"))
  flags = ("--mode=ask", f"--checkpoint={trained}", f"--image={image}")
  programs = tmp_path / "programs"
  result = run(
    *flags,
    "--question=What color is the large thing?",
    f"--compilation_cache={programs}",
  )
  assert result.returncode == 0, result.stderr[-3000:]
  assert "%" in result.stdout
  assert list(programs.iterdir())
  result = run(*flags, "--question=What colour is the cube?")
  assert result.returncode != 0
  assert "colour" in result.stderr
  assert "color" in result.stderr
  assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
  ("flags", "words"),
  [
    (("--mode=train",), "needs --workdir"),
    (("--workdir=W",), "--config.data.dir=DIR is needed"),
    (("--workdir=W", "--config.data.dir=nowhere"), "no such records folder"),
    (
      (
        "--workdir=W",
        "--config=configs/tiny.py:quickstart",
        "--config.train.init_from=no/run",
      ),
      "config.train.init_from=no/run: no checkpoint here",
    ),
    (("--workdir=W", "--config.optimizer.learning_rat=1"), "learning_rate"),
    (("--mode=evaluate", "--workdir=nowhere"), "nowhere"),
    (
      ("--mode=predict", "--checkpoint=pretrained/original_sd", "--workdir=W"),
      "name the records: --config.data.dir=DIR",
    ),
    (("--mode=train", "--workdir=W", "--checkpoint=X"), "no --checkpoint"),
    (("--workdir=W", "--num_processes=2"), "go together"),
    (("--workdir=W", "--questions=Q"), "takes no --questions"),
    (("--mode=predict", "--workdir=W", "--skip_unknown"), "with --questions"),
    (("--mode=predict", "--workdir=W", "--images=I"), "with --questions"),
  ],
)
def test_mistakes_are_explained(flags, words, tmp_path):
  flags = [flag.replace("=W", f"={tmp_path}") for flag in flags]
  result = run(*flags)
  assert result.returncode != 0
  assert words in result.stdout + result.stderr
  assert "Making data" not in result.stderr


@pytest.mark.parametrize(
  ("flags", "words"),
  [
    (("--config.optimizer.learning_rat=1",), "optimizer.learning_rate"),
    (("--config.optimizer.lr=1",), "optimizer.learning_rate"),
    (("--config.optimizr.clamp=1",), "there is optimizer;"),
    (("--config.model.zzz=1",), "; rn_jax/default_config.py has them all"),
    (("--config.seed.x=1",), "seed has no keys"),
    (("--config.train.batch_size=many",), "--config.train.batch_size=many"),
    (("--config=configs/tini.py",), "there is configs/tiny.py"),
    (("--config=configs/tiny.py:other",), "original_sd"),
    (("--config=tests",), "--config"),
    (("--config=",), "--config= needs a file"),
    (("--config", "--mode=train"), "--config= needs a file"),
    (("--config.train.batch_size=0",), "config.train.batch_size is 0"),
    (("--config.model.dtype=float31",), "bfloat16"),
    (("--config.train.cpu_devices=all",), "train.cpu_devices is 'all', not"),
    (("--workdir=gs://bucket/run",), "--workdir=gs://bucket/run"),
    (("--config.data.dir=gs://bucket/data",), "--config.data.dir"),
    (("--config.train.init_from=s3://bucket/run",), "--config.train.init_from"),
    (("--mode=ask", "--image=https://host/a.png"), "--image=https:"),
    (("--mode=extract", "--images=https://host/a.png"), "--images=https:"),
  ],
)
def test_slips_take_one_line_and_write_nothing(flags, words, tmp_path):
  workdir = tmp_path / "new"
  result = run(f"--workdir={workdir}", "--config.data.dir=nowhere", *flags)
  assert result.returncode == 1
  last = result.stderr.strip().splitlines()[-1]
  assert "rror:" in last or "launch.py:" in last
  assert words in last
  assert last.count("model.") <= 6  # not all that there are
  assert "Traceback" not in result.stderr
  assert not workdir.exists()
  assert not (ROOT / "gs:").exists()


def test_sigterm_saves_and_kill_loses_little(records_dir, tmp_path):
  command = [
    sys.executable,
    "launch.py",
    "--config=configs/tiny.py",
    f"--workdir={tmp_path}",
    f"--config.data.dir={records_dir}",
    "--config.train.num_epochs=100000",
    "--config.train.eval_every=1000",
    "--config.train.checkpoint_minutes=0.02",
    "--config.train.log_every=20",
  ]

  def run_until(condition, number):
    process = subprocess.Popen(
      command,
      cwd=ROOT,
      env=ENVIRONMENT,
      stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
    )
    deadline = time.monotonic() + 120
    while not condition():
      assert process.poll() is None, process.stderr.read()[-3000:]
      assert time.monotonic() < deadline
      time.sleep(0.1)
    process.send_signal(number)
    time.sleep(0.02)
    process.send_signal(number)  # changes nothing
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors

  def saved():
    folder = tmp_path / "checkpoints"
    return sorted(int(p.name) for p in folder.glob("*") if p.name.isdigit())

  # Shot between two checkpoints or within one: the last whole one counts.
  code, _ = run_until(lambda: len(saved()) >= 2, signal.SIGKILL)
  assert code == -signal.SIGKILL
  last = saved()[-1]
  code, errors = run_until(lambda: saved()[-1] > last, signal.SIGTERM)
  assert code == 128 + signal.SIGTERM
  assert "Resuming after update" in errors
  resumed = int(errors.split("Resuming after update ")[1].split()[0])
  assert 0 < resumed <= last
  stopped = int(
    errors.split("Stopped by a signal after update ")[1].split(",")[0]
  )
  assert saved()[-1] == stopped


def test_files_of_the_installation_are_found_from_anywhere(
  tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  config = f"{ROOT}/configs/tiny.py"
  assert launch._find_file("--config=configs/tiny.py") == f"--config={config}"
  assert launch._find_file("configs/tiny.py:ir_fp") == f"{config}:ir_fp"
  assert launch._find_file("--config=configs/no.py") == "--config=configs/no.py"
  (tmp_path / "configs").mkdir()
  (tmp_path / "configs/tiny.py").touch()
  assert launch._find_file("--config=configs/tiny.py") == (
    "--config=configs/tiny.py"
  )


@pytest.mark.parametrize(
  "error", [KeyError("x"), MemoryError(), RuntimeError("no word of it")]
)
def test_one_of_several_that_fails_does_not_keep_the_others_waiting(
  monkeypatch, error
):
  left = []

  def fail():
    raise error

  monkeypatch.setattr(launch, "_own_questions", lambda: None)
  monkeypatch.setattr(launch, "_start_jax", fail)
  monkeypatch.setattr(hosts, "leave", lambda *, broken: left.append(broken))
  flags = types.SimpleNamespace(value=None)
  for name in "_BEAM_OPTIONS", "_DEBUG":
    monkeypatch.setattr(launch, name, flags)
  with pytest.raises(type(error)):
    launch.main([])  # alone it says where it failed, as ever
  monkeypatch.setattr(hosts, "is_alone", lambda: False)
  launch.main([])
  assert left == [False]
