"""Questions of users' files are answered as those of the records are."""

import csv
import json
import random
import shutil

import numpy as np
import pytest
from small_network import write_network

from rn_jax.clevr import tokenize
from rn_jax.data.own_questions import OwnQuestions
from rn_jax.evaluate import evaluate_command, predict_split
from rn_jax.predict import predict_command

NAMED = ("image_filename", "image_index", "question")


@pytest.fixture(scope="module")
def asked(clevr_dir):
  """The shorter ones of the val split's own questions, in another order."""
  path = clevr_dir / "questions/CLEVR_val_questions.json"
  questions = json.loads(path.read_text())["questions"]
  questions = sorted(questions, key=lambda q: len(tokenize(q["question"])))[:13]
  random.Random(0).shuffle(questions)
  return questions


@pytest.fixture
def network(make_config, tmp_path, request):
  # One whose answers depend on how far questions are padded.
  punctuation = getattr(request, "param", "split")
  config = make_config(
    **{"model.padding": "front", "data.punctuation": punctuation}
  )
  write_network(tmp_path / "net/checkpoints", config)
  return tmp_path / "net"


@pytest.fixture
def predict(network, tmp_path):
  """predict(path) -> lines of predictions, and what was printed."""

  def predict(path, **options):
    own = OwnQuestions(str(path), **options)
    printed = predict_command(network, tmp_path / "out", "val", {}, own)
    lines = printed[0].read_text().splitlines()
    return [json.loads(line) for line in lines], list(map(str, printed))

  return predict


@pytest.fixture
def evaluate(network, tmp_path):
  """evaluate(path) -> what the evaluation's file holds, what was printed."""

  def evaluate(path, **options):
    own = OwnQuestions(str(path), **options)
    printed = evaluate_command(network, tmp_path / "out", "val", {}, own)
    return json.loads(printed[1].read_text()), list(map(str, printed))

  return evaluate


def write(path, questions):
  path.write_text(json.dumps({"questions": questions}))
  return path


def write_csv(path, questions, columns):
  with open(path, "w", newline="") as file:
    table = csv.DictWriter(file, columns, extrasaction="ignore")
    table.writeheader()
    table.writerows(questions)
  return path


@pytest.mark.parametrize("network", ["split", "keep"], indirect=True)
def test_answers_are_those_of_the_records_in_the_order_of_the_file(
  network, predict, asked, tmp_path
):
  dataset, found = predict_split(network, "val")
  of_index = {
    int(index): (dataset.answers[answer], probability)
    for index, answer, probability in zip(
      dataset.questions["question_index"],
      found["answer"],
      found["probability"],
      strict=True,
    )
  }
  assert len({probability for _, probability in of_index.values()}) > 9
  for path in (
    write(tmp_path / "mine.json", asked),
    write_csv(
      tmp_path / "mine.csv", asked, ["image_index", "question_index", NAMED[2]]
    ),
  ):
    lines, printed = predict(path)
    assert printed == [
      str(tmp_path / "out/predictions_val_mine.jsonl"),
      str(tmp_path / "out/submission_val_mine.txt"),
    ]
    submission = (tmp_path / "out/submission_val_mine.txt").read_text()
    assert len(lines) == len(asked)
    for line, word, question in zip(
      lines, submission.splitlines(), asked, strict=True
    ):
      index = question["question_index"]
      assert line["question_index"] == index
      assert line["image_filename"] == question["image_filename"]
      assert (line["prediction"], word) == (of_index[index][0],) * 2
      assert line["probability"] == pytest.approx(of_index[index][1], abs=1e-5)
      assert line.get("answer") == (
        question["answer"] if path.suffix == ".json" else None
      )


def test_a_test_split_is_numbered_by_its_places(predict, asked, tmp_path):
  test = [{name: question[name] for name in NAMED} for question in asked]
  lines, _ = predict(write(tmp_path / "test.json", test))
  assert [line["question_index"] for line in lines] == [*range(len(test))]
  assert not any("answer" in line for line in lines)


def test_evaluation_counts_kinds_as_far_as_the_file_tells(
  evaluate, asked, tmp_path
):
  # As CLOSURE's: another set of functions, of which the last one tells.
  for question in asked:
    question["program"][0] = {"type": "new_function", "inputs": []}
  whole, printed = evaluate(write(tmp_path / "closure.json", asked))
  assert printed[1] == str(tmp_path / "out/eval_val_closure.json")
  assert (tmp_path / "out/plots/confusion_val_closure.png").exists()
  assert whole["num_examples"] == len(asked)
  assert whole["skipped_questions"] == whole["unknown_answers"] == 0
  counts = [part["count"] for part in whole["by_question_type"].values()]
  assert sum(counts) == len(asked)

  # As CLEVR-Humans': texts and answers alone.
  humans = [
    {name: question[name] for name in (*NAMED, "answer")} for question in asked
  ]
  plain, _ = evaluate(write(tmp_path / "humans.json", humans))
  for name in ("accuracy", "loss", "by_answer_class", "confusion"):
    assert plain[name] == whole[name]
  assert not any(part["count"] for part in plain["by_question_type"].values())

  typed = [{"question_type": "exist", **question} for question in humans]
  found, _ = evaluate(write(tmp_path / "typed.json", typed))
  assert found["by_question_type"]["exist"]["count"] == len(asked)


def test_unknown_words_are_named_or_skipped(evaluate, predict, asked, tmp_path):
  asked = [dict(question) for question in asked]
  asked[2]["question"] = "Is the colour of the cubes nice?"
  asked[5]["question"] = "Which colour is it?"
  path = write(tmp_path / "mine.json", asked)
  with pytest.raises(ValueError, match="2 of 13 questions") as raised:
    predict(path)
  message = str(raised.value)
  assert f"{path}: " in message
  assert "'colour' (nearest: 'color', " in message
  assert " in question 2; 'nice' (" in message
  assert "--skip_unknown" in message

  lines, printed = predict(path, skip_unknown=True)
  kept = [q["question_index"] for q in asked[:2] + asked[3:5] + asked[6:]]
  assert [line["question_index"] for line in lines] == kept
  assert len(printed) == 2  # no submission, which would be shifted
  assert "Skipped 2 of the 13 questions" in printed[1]
  assert "'colour' (2), " in printed[1]
  found, printed = evaluate(path, skip_unknown=True)
  assert (found["num_examples"], found["skipped_questions"]) == (11, 2)
  assert "Skipped 2 of the 13" in printed[-1]
  with pytest.raises(ValueError, match="1 of 1 questions"):
    predict(write(path, asked[2:3]), skip_unknown=True)


def test_answers_that_no_network_gives_are_wrong(
  evaluate, predict, asked, tmp_path
):
  whole, _ = evaluate(write(tmp_path / "mine.json", asked))
  predicted, _ = predict(tmp_path / "mine.json")
  right = [line["answer"] == line["prediction"] for line in predicted]
  asked = [dict(question) for question in asked]
  for row in (0, right.index(False), *([right.index(True)] * any(right))):
    asked[row]["answer"] = "maybe"
    right[row] = False
  path = write(tmp_path / "mine.json", asked)
  found, printed = evaluate(path)
  assert found["accuracy"] == sum(right) / 13
  assert found["num_examples"] == 13
  assert found["unknown_answers"] == sum(
    question["answer"] == "maybe" for question in asked
  )
  assert "true answers are none that the network can give" in printed[0]
  assert np.sum(found["confusion"]["counts"]) == 13 - found["unknown_answers"]
  assert predict(path)[0][0]["answer"] == "maybe"
  assert whole["unknown_answers"] == 0


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"answer": None}, "has no answer.* --mode=predict"),
    ({"answer": ""}, "has no answer"),
    ({"answer": "red"}, "to which 'red' is no answer"),
    ({"question": " "}, "has no text"),
    ({"question": "cube " * 50 + "?"}, "has 51 words.*max_question_length=50"),
    ({"image_filename": "a.png"}, "'a.png', which is not in split 'val'"),
    ({"question_index": 1.5}, "question_index 1.5"),
    ({"question_index": None}, "no question_index, but others have"),
  ],
)
def test_questions_that_cannot_be_asked(
  network, asked, tmp_path, change, message
):
  asked = [dict(question) for question in asked]
  counts = [q["program"][-1].get("function") == "count" for q in asked]
  row = counts.index(True)
  asked[row] |= change
  path = write(tmp_path / "mine.json", asked)
  with pytest.raises(ValueError, match=message) as raised:
    predict_split(
      network,
      "val",
      {"data.max_question_length": 50},
      with_answers=True,
      own=OwnQuestions(str(path)),
    )
  assert str(raised.value).startswith(f"{path}: question {row}: ")


def named_by_files(questions):
  """The questions without what only records know of their scenes."""
  names = ("image_filename", "question", "answer", "question_index")
  return [{name: question[name] for name in names} for question in questions]


@pytest.mark.parametrize("inputs", ["pixels", "states"])
def test_scenes_in_files_are_those_of_the_records(
  clevr_dir, make_config, asked, tmp_path, inputs
):
  name = {"pixels": "original_fp", "states": "original_sd"}[inputs]
  config = make_config(name, **{"data.max_question_length": 50})
  write_network(tmp_path / "net/checkpoints", config)
  path = str(write(tmp_path / "mine.json", named_by_files(asked)))
  images = clevr_dir / "images"
  if inputs == "states":
    images = clevr_dir / "scenes/CLEVR_val_scenes.json"
  found = [
    predict_split(tmp_path / "net", "val", overrides, own=own)
    for overrides, own in (
      ({}, OwnQuestions(path)),
      # Files need no records.
      ({"data.dir": "nowhere"}, OwnQuestions(path, (str(images),))),
    )
  ]
  (dataset, expected), (mine, predictions) = found
  assert mine.split == "images_mine"
  # Only the scenes that are asked about are read.
  scenes = np.unique(dataset.questions["scene"])
  assert len(mine.image_filename) == len(scenes)
  for key, values in mine.scenes.items():
    np.testing.assert_allclose(values, dataset.scenes[key][scenes], atol=1e-6)
  for key, values in predictions.items():
    np.testing.assert_allclose(values, expected[key], rtol=1e-4, err_msg=key)


def test_a_folder_of_pictures_may_name_them_otherwise(
  clevr_dir, make_config, asked, tmp_path
):
  write_network(tmp_path / "net/checkpoints", make_config("original_fp"))
  folder = tmp_path / "pictures"
  folder.mkdir()
  for path in (clevr_dir / "images/val").iterdir():
    shutil.copy(path, folder / path.name.removeprefix("CLEVR_val_"))
  path = str(write(tmp_path / "mine.json", named_by_files(asked)))
  own = OwnQuestions(path, (str(folder),))
  printed = predict_command(tmp_path / "net", tmp_path, "val", {}, own)
  assert printed[0] == tmp_path / "predictions_images_mine.jsonl"
  lines = map(json.loads, printed[0].read_text().splitlines())
  for line, question in zip(lines, asked, strict=True):
    whole = "CLEVR_val_" + line["image_filename"]
    assert whole == question["image_filename"]
  (folder / "000000.png").write_bytes(b"no picture")
  for name in ("000001.png", "000002.png", "000003.png", "000004.png"):
    (folder / name).unlink()
  asked = [{"image": "000000", "question": "Any cubes?"}]
  write(tmp_path / "mine.json", asked)
  with pytest.raises(ValueError, match=r"000000\.png: not a readable image"):
    predict_split(tmp_path / "net", "val", own=own)
  write(tmp_path / "mine.json", [{**asked[0], "image": "CLEVR_val_000001"}])
  with pytest.raises(ValueError, match=f"which is not in {folder}"):
    predict_split(tmp_path / "net", "val", own=own)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (None, "no file; .*give a CLEVR scenes file"),
    ("\ufffdPNG", "broken JSON after 0 .*give a CLEVR scenes file"),
    ({"scenes": [{"objects": []}]}, "scene 0 has no image_filename"),
    ({"scenes": [{"image_filename": "a"}]}, "scene 0 has no 'objects'"),
    ({"objects": []}, "holds no scenes"),
  ],
)
def test_scenes_files_that_are_none(network, asked, tmp_path, content, message):
  path = tmp_path / "scenes.json"
  if content is None:
    path.mkdir()
  else:
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text)
  questions = str(write(tmp_path / "mine.json", asked))
  with pytest.raises(ValueError, match=f"{path}.* ?{message}"):
    predict_split(network, "val", own=OwnQuestions(questions, (str(path),)))
