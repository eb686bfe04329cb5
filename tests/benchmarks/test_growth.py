"""How costs grow is fitted as by hand, and every stage has a cost."""

import pytest

from benchmarks import growth
from rn_jax.retrieval.describe.extractor import load_extractor

DATA = ["scenes and questions", "pictures", "records", "descriptors"]


@pytest.mark.parametrize(
  ("sizes", "seconds", "exponent", "off"),
  [
    ([1, 11, 101, 1001], [50, 70, 250, 2050], 1, 0),
    ([2, 4, 22, 202], [7, 1000, 8, 107], 2, 0),  # the first decade is left out
    # 1, 4, 4: the line of least squares has the slope log 4 / 2 log 10, and
    # the middle is above it by 4 ** (1 / 3), both others below by half of it.
    ([1, 11, 101, 1001], [9, 10, 13, 13], 0.30103, 0.5874),
  ],
)
def test_powers_are_fitted(sizes, seconds, exponent, off):
  assert growth.fit(sizes, seconds) == pytest.approx((exponent, off), abs=1e-4)


def test_sizes_are_two_in_a_decade():
  assert growth.sizes_from(2) == [2, 6, 20, 63, 200, 632, 2000]


def test_table_has_what_the_stages_took(monkeypatch):
  calls = []

  def data(size, *_):
    calls.append(size)
    return {"data": 1e-3 * size}

  monkeypatch.setattr(growth, "_data_stages", data)
  monkeypatch.setattr(
    growth, "_search_stages", lambda n, _: {"query": 4 * n**2}
  )
  one, other = growth.run(scenes=2, vectors=10)
  assert calls == [2, *growth.sizes_from(2)]  # the first is to compile
  assert one[:2] == ("data", "2 to 2,000")
  assert one[2:] == pytest.approx((2e-3, 2, 1, 1, 0), abs=1e-6)
  assert other[5] == pytest.approx(2, abs=0.1)


def test_every_stage_is_timed(tmp_path):
  extractor = load_extractor(
    growth._CHECKPOINT, overrides={"eval.batch_size": 2}
  )
  found = growth._data_stages(2, tmp_path / "data", extractor)
  assert [*found] == [*DATA, "ground truth"]
  found |= growth._search_stages(100, tmp_path / "search")
  assert sum(name.startswith("query") for name in found) == 3
  assert min(found.values()) > 0
