"""The model of large data sets, against times worked out by hand."""

import json

import pytest

from benchmarks import plan, plan_check, unit_costs
from benchmarks.plan import Stage, finish, limit, split_units

COSTS = {
  "scene": 2.0,
  "question": 0.25,
  "question, joined alone": 0.125,
  "question, read alone": 0.5,
  "scene, converted": 3.0,
  "picture 128x128": 1.0,
  "picture 480x320": 6.0,
  "descriptor": 0.5,
  "distance": 0.001,
  "start": 1.0,
  "start, pictures 128x128": 12.0,
  "start, pictures 480x320": 60.0,
  "start, descriptors": 5.0,
}


@pytest.mark.parametrize(
  ("workers", "expected"),
  [
    (1, 10.0),
    (2, 5.0),  # 3 + 2 and 1 + 1 + 3
    (3, 4.0),  # 3, 1 + 3 and 1 + 2
    (9, 3.0),  # the largest unit
  ],
)
def test_the_next_unit_goes_to_who_is_free(workers, expected):
  units = [3.0, 1.0, 1.0, 3.0, 2.0]
  assert finish(units, workers) == expected
  assert finish(units, workers, start=2.5) == expected + 2.5


def test_five_units_on_two_workers():
  # 0-2, 2-4, 4-6 and 0-2, 2-4; the second worker waits for 2.
  assert finish([2.0] * 5, 2, start=0.5) == 6.5
  assert finish([], 2, start=0.5) == 0.0


def test_a_failed_unit_is_done_again_by_a_worker_that_starts_anew(monkeypatch):
  luck = iter([0.0, 1.0, 1.0, 1.0])  # only the first attempt fails
  monkeypatch.setattr(plan.random.Random, "random", lambda self: next(luck))
  # 1 to 3, lost, starts until 4; the other 1 to 3, 3 to 5; the first 4 to 6.
  assert finish([2.0] * 3, 2, start=1.0, failure=0.5) == 6.0


@pytest.mark.parametrize(("workers", "failure"), [(0, 0.0), (1, 1.0), (1, -1)])
def test_nonsense_is_refused(workers, failure):
  with pytest.raises(ValueError, match=r"workers is .* failure is"):
    finish([1.0], workers, failure=failure)


def test_the_same_failures_every_time():
  once, again = (finish([1.0] * 100, 4, 0.5, 0.2) for _ in range(2))
  assert once == again > finish([1.0] * 100, 4, 0.5)


def test_units_of_a_stage():
  assert split_units(7, 3, 2.0) == [6.0, 6.0, 2.0]
  assert split_units(6, 3, 2.0) == [6.0, 6.0]
  scenes, small, large, records, described, some, every = plan.stages(
    COSTS, 600, 4
  )
  assert scenes == Stage(
    "scenes and questions", [750.0, 750.0, 300.0], 1.0, 300.0
  )
  assert small == Stage("pictures 128x128", [256.0, 256.0, 88.0], 12.0)
  assert large == Stage("pictures 480x320", [1536.0, 1536.0, 528.0], 60.0)
  assert records == Stage("records of pictures", [1536.0, 264.0], 1.0, 1200.0)
  assert described.units == [300.0]
  assert sum(some.units) == pytest.approx(501 * 600 * 0.001)
  assert len(every.units) == 75
  assert sum(every.units) == pytest.approx(600 * 600 * 0.001)


def test_what_limits_a_stage():
  stage = Stage("", [10.0] * 8, start=3.0, alone=4.0)
  assert [limit(stage, n) for n in (1, 8, 64)] == ["work", "work", "8 units"]
  assert limit(stage._replace(alone=50.0), 8) == "one process"
  assert limit(stage._replace(start=11.0), 8) == "start"


def test_tables(tmp_path, capsys):
  group = {"command": "C", "machine": "M", "questions a scene": 10.0}
  group |= {"seconds": COSTS, "bytes": {"question, JSON": 1e6, "distance": 4}}
  more = {"seconds": {**COSTS, "question": 1.25}, "questions a scene": 80.0}
  path = tmp_path / "costs.json"
  path.write_text(json.dumps({"files": group, "files_of_all": group | more}))
  rows = plan.run(600, 4.0, ["1", "2"], 0.5, 0.0, str(path))
  # 1 + 750 + 750 + 300 s, or 1 + 750 + 300 s, and 300 s alone.
  assert rows[0] == pytest.approx(
    ("scenes and questions", 3, 0.5, 1, 2101 / 3600, 2101 / 7200, "work")
  )
  assert rows[1][3:6] == pytest.approx((2, 1351 / 3600, 1351 / 3600))
  sizes = capsys.readouterr().out.splitlines()[-2:]
  assert [row.split("|")[-2].strip() for row in sizes] == ["2.40", "0.00144"]
  (many, *_) = plan.run(600, 20.0, ["1"], 0.5, 0.0, str(path))
  assert many[2] == pytest.approx(600 * (2 + 20 * 1.25) / 3600)
  with pytest.raises(ValueError, match=r"one question of each.* 750 scenes"):
    plan.run(600, 100.0, ["1"], 0.5, 0.0, str(path))


def test_costs_are_measured(tmp_path):
  path = tmp_path / "costs.json"
  path.write_text('{"pictures": "kept"}')
  found = unit_costs.run(4, ["files_of_all", "distances"], str(path))
  assert json.loads(path.read_text()) == found
  assert found.pop("pictures") == "kept"
  seconds = [name for group in found.values() for name in group["seconds"]]
  assert set(seconds) < set(COSTS)
  assert len(set(seconds)) == len(seconds) == 7
  assert found["files_of_all"]["bytes"]["scene, decoded"] == 3 * 128 * 128
  assert 60 < found["files_of_all"]["questions a scene"] <= 90


def test_a_run_is_foretold_from_smaller_ones(monkeypatch):
  # A start of 5 and units of 2 by the clock; 1 and 1.5 of the processor.
  def generate(scenes, workers):
    units, processes = scenes // 250, workers if workers > 1 else 0
    clock = 5.0 + 5.0 * bool(processes) + 2.0 * -(-units // workers)
    return plan_check.Spent(clock, 1.0 + processes + 1.5 * units)

  monkeypatch.setattr(plan_check, "generate", generate)
  one, two = plan_check.run(1001, ["1", "2"], 2)
  assert one == pytest.approx((1, 15.0, 15.0, 0.0, 8.5, 8.5, 0.0))
  assert two == pytest.approx((2, 16.0, 16.0, 0.0, 10.5, 10.5, 0.0))
