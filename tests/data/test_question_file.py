"""Files of questions in the forms in which people have them."""

import csv
import json

import pytest

from rn_jax.data.question_file import QuestionFileError, read_question_file
from rn_jax.data.scene_names import SceneNames

ASKED = [
  {
    "image_filename": "CLEVR_val_000001.png",
    "image_index": 1,
    "question": 'Are there "red" cubes; a ball, too?',
    "answer": "no",
    "question_index": 7,
  },
  {"image_index": 0, "question": "How many balls?", "question_index": 3},
]


def write_json(path, asked=ASKED, indent=None):
  path.write_text(json.dumps({"info": {}, "questions": asked}, indent=indent))


def write_lines(path, asked=ASKED):
  path.write_text("\n\n".join(map(json.dumps, asked)) + "\n")


def write_csv(path, separator=",", encoding="utf-8"):
  with open(path, "w", newline="", encoding=encoding) as file:
    table = csv.DictWriter(file, [*ASKED[0]], delimiter=separator)
    table.writeheader()
    table.writerows(ASKED)


@pytest.mark.parametrize(
  "write",
  [
    write_json,
    lambda path: write_json(path, indent=2),
    write_lines,
    write_csv,
    lambda path: write_csv(path, ";", "utf-8-sig"),
    lambda path: write_csv(path, "\t"),
  ],
)
def test_all_forms_say_the_same_whatever_they_are_called(write, tmp_path):
  path = tmp_path / "mine.txt"
  write(path)
  found = list(read_question_file(path))
  assert [element for _, element in found] == ASKED
  assert all(where.startswith(f"{path}: ") for where, _ in found)


def test_tables_with_gaps_have_numbers_with_a_point(tmp_path):
  path = tmp_path / "a.csv"
  path.write_text("image_index,question,answer\n3.0,How many?,2.0\n1.0,Any?,\n")
  (_, first), (_, second) = read_question_file(path)
  assert (first["image_index"], first["answer"]) == (3, "2")
  assert second == {"image_index": 1, "question": "Any?"}


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "is empty. Questions come as JSON"),
    (b'{"questions": [{"question": "A', "broken JSON after 0"),
    (b'{"quests": []}', "holds no questions.* Questions come as JSON"),
    (b'[{"question": "Any?"}]', "holds no questions.* Questions come as JSON"),
    (b'{"questions": [3]}', "no JSON object"),
    (b'{"question": "Any?", "image": "a"}\n{"question"', "line 2: broken JSON"),
    (b'{"question": "Any?"}\n3\n', "line 2: no JSON object"),
    (b"picture,question\na,Any?\n", "'picture,question', does not name the"),
    (b"Any cubes?\n", "does not name the columns"),
    (b"image,question\na,Red, or blue?\n", "line 2: 3 fields, but 2 columns"),
    (b'image,question\na,"Any', "line 2: broken CSV"),
    (b"\x89PNG\r\n\x1a\n\xff\xfe", "no UTF-8"),
    (b'{"question": "A\xff"}', "no UTF-8"),
  ],
)
def test_what_is_wrong_takes_a_line(content, message, tmp_path):
  path = tmp_path / "mine"
  path.write_bytes(content)
  with pytest.raises(QuestionFileError, match=message) as raised:
    list(read_question_file(path))
  assert str(raised.value).startswith(str(path))
  assert "\n" not in str(raised.value)


def test_what_is_no_file_is_refused(tmp_path):
  with pytest.raises(QuestionFileError, match="no such file"):
    list(read_question_file(tmp_path / "mine"))
  with pytest.raises(QuestionFileError, match="no regular file"):
    list(read_question_file(tmp_path))


@pytest.mark.parametrize(
  ("fields", "row"),
  [
    ({"image_filename": "CLEVR_val_000001.png", "image_index": 70}, 1),
    ({"image_filename": "images/val/CLEVR_val_000001.png"}, 1),
    ({"image": "CLEVR_val_000001"}, 1),
    ({"image": "000001"}, 1),
    ({"image": "000001.jpg"}, 1),
    ({"image_index": 40}, 0),
    ({"image": 40}, 0),
    ({"image_filename": "photo"}, 2),
    ({"image_filename": "sub/000000.png"}, 3),
    ({"image_filename": "CLEVR_val_000009.png"}, 4),
    ({"image": "b.v2"}, 5),
    ({"image": "41"}, 1),
    ({"image_filename": "images\\val\\CLEVR_val_000001.png"}, 1),
  ],
)
def test_scenes_are_found_by_their_names(fields, row):
  names = ["CLEVR_val_000000.png", "CLEVR_val_000001.png", "photo.png"]
  names += ["sub/000000.png", "000009.png", "b.v2.png"]
  scenes = SceneNames(names, lambda: [40, 41, 42, 43, 44, 45], "here")
  assert scenes.row(fields) == row


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    # Of another split: the number alone would be another scene's.
    ({"image_filename": "CLEVR_test_000001.png", "image_index": 1}, "not in"),
    ({"image": "a.png"}, "may be x/a.png or y/a.png in here"),
    ({"image_index": 2}, "image_index 2, which is not in here"),
    ({"image_index": "1"}, "no whole number"),
    ({"image_index": True}, "no whole number"),
    ({"image_filename": 3}, "no file's name"),
    ({"image": "x_CLEVR_val_000001"}, "not in here"),
    ({"question": "Any?"}, "does not say which scene"),
  ],
)
def test_scenes_that_are_not_clear(fields, message):
  names = ["CLEVR_val_000001.png", "x/a.png", "y/a.png"]
  with pytest.raises(ValueError, match=message):
    SceneNames(names, lambda: [0, 1, 5], "here").row(fields)


def test_pictures_have_no_numbers():
  with pytest.raises(ValueError, match="give its image_filename"):
    SceneNames(["a.png"], None, "here").row({"image_index": 0})
