"""The demonstration without its page: what is shown, and what is refused."""

import dataclasses
import io
import json
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from places import ROOT

from rn_jax.answer import load
from rn_jax.demo import subjects
from rn_jax.demo.answering import known_questions
from rn_jax.demo.desk import FAILED, FORGOTTEN, Desk

QUESTION = "How many cubes are there?"


def png(width=48, height=32):
  content = io.BytesIO()
  Image.new("RGB", (width, height), "red").save(content, "PNG")
  return content.getvalue()


def scene_json(**changes):
  scene = json.loads((ROOT / "examples/scene.json").read_text())
  return json.dumps(scene | changes).encode()


def text_of(html):
  return " ".join(re.sub("<[^>]*>", " ", html).split())


def test_the_example_comes_with_its_questions_and_their_answers(desk):
  shown = desk.example("states")
  known = json.loads((ROOT / "examples/questions.json").read_text())
  assert shown.suggestions == list(known)
  for question, answer in known.items():
    said = text_of(desk.ask(shown.subject, question, "states").said)
    assert said.startswith(f"{question} {answer} ")
    assert "✓ That is right." in said
  said = text_of(desk.ask(shown.subject, QUESTION, "states").said)
  assert said.startswith(QUESTION)
  assert "How the right answer is found the cubes large purple metal cube" in (
    said
  )


def test_what_the_network_says_is_shown_with_its_pairs(desk):
  question = "What number of small things are left of the red ball?"
  shown = desk.ask(desk.example("states").subject, question, "states")
  network, scene = desk.load("states"), ROOT / "examples/scene.json"
  said = text_of(shown.said)
  for answer, probability in network.ask(scene, question)[:3]:
    assert f"{answer} {100 * probability:.1f} %" in said
  why = network.why(scene, question)
  assert len(why.strongest()) > 2
  for rank, (i, j) in enumerate(why.strongest(), 1):
    second = "by itself" if i == j else f"→ {why.names[j]}"
    value = f"{why.contributions[i, j]:+.2f}"
    assert f"{rank} {why.names[i]} {second} {value}" in said
  assert "speaks for the answer" in shown.picture
  assert 'src="data:image/jpeg;base64,' in shown.picture


def test_a_head_without_pairs_says_so(desk):
  shown = desk.example("no_pairs")
  assert "without pairs" in text_of(shown.said)
  assert "speaks for" not in shown.picture


def test_questions_are_suggested_however_marks_are_read(checkpoints, desk):
  network = load(checkpoints["states"], {"data.punctuation": "drop"})
  words = {w: i for w, i in network.vocabulary["questions"].items() if w != "?"}
  vocabulary = {**network.vocabulary, "questions": words}
  network = dataclasses.replace(network, vocabulary=vocabulary)
  subject = desk.example("states").subject
  known = known_questions(load(checkpoints["states"]), subject)
  assert known_questions(network, subject) == known != []


def test_a_new_scene_has_questions_with_answers(desk, tools):
  shown = desk.generate("states", seed=5)
  scene, questions = shown.subject.scene, shown.subject.questions
  assert scene == tools.make(5)
  assert len(questions) == 6
  assert all(tools.right_answer(scene, q) for q in questions)
  assert desk.generate("states").subject.title != shown.subject.title
  # Asked from pixels, it is its picture.
  by_pixels = desk.ask(shown.subject, QUESTION, "pixels")
  assert "row 1, column" in by_pixels.said or "None alone" in by_pixels.said


def test_an_upload_goes_to_a_network_that_reads_it(desk):
  shown = desk.upload(png(), "../my <b>.png", "states")
  assert shown.network == "pixels"
  assert shown.subject.title == "my <b>.png"
  assert "my &lt;b&gt;.png" in shown.picture
  assert "nobody described" in text_of(shown.said)
  shown = desk.upload(scene_json(), "scene.json", "pixels")
  assert shown.network == "pixels"  # as it can be drawn
  objects = json.loads(scene_json())["objects"]
  for thing in objects:
    del thing["rotation"]
  content = json.dumps({"objects": objects}).encode()
  shown = desk.upload(content, "scene.json", "pixels")
  assert (shown.network, shown.subject.picture) == ("states", None)
  assert "data:image/jpeg" in shown.picture  # what stands for the objects
  original = json.loads(scene_json())
  assert shown.subject.scene["relationships"] == original["relationships"]
  refused = desk.ask(shown.subject, QUESTION, "pixels")
  assert "reads pictures" in refused.said
  assert "There is no picture" in refused.picture


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"hello", "a.bin: not a readable image (its format is none of PNG,"),
    (pickle.dumps([1]), "a.bin: not a readable image"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is none of PNG"),
    (png()[:60], "a.bin: not a readable image"),
    (b"{", "a.bin: not a picture, and no JSON"),
    (b"[" * 100_000, "a.bin: not a picture, and no JSON"),
    (b'{"scenes": []}', "a.bin: holds a list of scenes"),
    (b"[1]", "a.bin: the scene has no 'objects'"),
    (b'{"objects": [{"color": 1}]}', "a.bin: the scene: an object is not as"),
    (b'{"objects": []}', "a.bin: the scene has 0 objects"),
    (png(9000, 3000), "a.bin: has 9000x3000 pixels; at most 20 million"),
    (b"0" * (subjects.MAX_BYTES + 1), "a.bin: has 10.0 MB; at most 10"),
  ],
  ids=range(12),
)
def test_bad_uploads_are_refused_in_a_line(desk, content, message):
  shown = desk.upload(content, "/home/me/a.bin", "states")
  said = str(shown.said).replace("&#39;", "'").strip()
  assert said.startswith('<p class="rn-error" role="alert">a.bin: ')
  assert message in said
  assert "\n" not in said
  assert "/home" not in said
  assert shown.subject is shown.picture is None  # what was shown stays


def test_odd_camera_and_lamps_do_no_harm(desk):
  for changes in ({"lamps": {"key": "x"}}, {"camera": [1e999, 0, 0]}):
    content = scene_json(**changes)
    assert desk.upload(content, "a.json", "states").subject is not None


def test_errors_of_questions_stand_where_the_answer_would(desk):
  subject = desk.example("states").subject
  shown = desk.ask(subject, "How many <i>zebras</i>?", "states")
  assert text_of(shown.said).startswith("the network does not know")
  assert "<i>" not in shown.said
  assert "speaks for" not in shown.picture
  assert "empty" in desk.ask(subject, "  ", "states").said
  assert "more than 200" in desk.ask(subject, "cube " * 201, "states").said


def test_networks_are_called_by_name_and_what_they_read(desk):
  assert desk.label("states") == "states: reads descriptions"
  assert desk.label("pixels") == "pixels: reads pictures"


def test_what_was_forgotten_gives_way_to_the_example(desk):
  shown = desk.ask(None, QUESTION, "states")
  assert FORGOTTEN in shown.said
  assert shown.subject.title == desk.example("states").subject.title


def test_what_nobody_foresaw_is_no_traceback(checkpoints, tools):
  def fail(*_):
    raise OSError(2, "No such file", "/secret/place")

  desk = Desk({"lost": "/secret/place"}, tools)
  assert FAILED in desk.example("lost").said
  desk = Desk(checkpoints, tools._replace(make=fail))
  shown = desk.generate("states")
  assert FAILED in shown.said
  assert "secret" not in shown.said


def test_large_pictures_are_kept_smaller(tools):
  subject = subjects.uploaded(tools, png(4000, 2000), "a.png")
  assert subject.picture.size == (1920, 960)
  assert max(subjects.shown(subject.picture).size) <= 960
  assert np.asarray(subject.picture)[0, 0].tolist() == [255, 0, 0]


def test_the_command_says_what_it_needs(tmp_path):
  def run(*arguments):
    code = "import runpy, sys; sys.modules['gradio'] = None;"
    code += "sys.argv[0] = 'demo'; runpy.run_module('rn_jax.demo', "
    code += "run_name='__main__', alter_sys=True)"
    done = subprocess.run(
      [sys.executable, "-c", code, *arguments],
      cwd=ROOT,
      capture_output=True,
      text=True,
    )
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]

  assert run() == "error: the page needs Gradio: pip install 'rn_jax[demo]'"
