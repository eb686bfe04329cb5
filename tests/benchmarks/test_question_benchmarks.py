"""The benchmarks of questions run, and notice what is wrong."""

import json

import pytest

from benchmarks import question_fidelity, questions
from data_prep.generate import generate
from data_prep.generation.job import Job


def test_questions_are_timed(capsys):
  rows = questions.run(language_dir=None, scenes=20, repeats=1)
  assert [row[:3] for row in rows] == [("own", "0", 200), ("own", "200", 200)]
  for _, _, _, rate, minutes, times in rows:
    assert minutes == pytest.approx(700_000 / rate / 16 / 60)
    assert times == pytest.approx(rate / 25)
  shares = capsys.readouterr().out.splitlines()[-2:]
  for line in shares:
    percent = [float(cell) for cell in line.split("|")[3:-1]]
    assert sum(percent) == pytest.approx(100, abs=1)


@pytest.fixture
def original(tmp_path):
  generate(tmp_path, Job("val", 12, 5), workers=1)
  return tmp_path


def test_fidelity_of_like_to_like(original, capsys):
  made = question_fidelity.run(str(original), None, scenes=12, seed=5)
  # The same arguments: the same questions, so nothing differs.
  ours, theirs = made["balanced"], made["original"]
  assert [q["question"] for q in ours] == [q["question"] for q in theirs]
  out = capsys.readouterr().out
  assert "original: 120 of 120 answers are right" in out
  rows = [line.split("|") for line in out.splitlines() if line[:1] == "|"]
  numbers = [row[-2].strip() for row in rows if row[-2].strip()[-1:].isdigit()]
  assert len(numbers) == 5 + 6 + 8 + 11
  assert set(numbers) == {"0"}
  assert "total variation of lengths 0.000" in out


def test_a_wrong_answer_is_noticed(original):
  path = original / "questions" / "CLEVR_val_questions.json"
  content = json.loads(path.read_text())
  question = next(
    q for q in content["questions"] if q["answer"] in ("yes", "no")
  )
  question["answer"] = {"yes": "no", "no": "yes"}[question["answer"]]
  path.write_text(json.dumps(content))
  with pytest.raises(ValueError, match="original: wrong answers"):
    question_fidelity.run(str(original), None, scenes=3, seed=0)
