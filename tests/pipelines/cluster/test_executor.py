"""Pieces in this process and in several processes; results that are kept."""

from functools import partial

import pytest
from cluster_work import Work

from duet_av.pipelines.cluster import kept as kept_module
from duet_av.pipelines.cluster.executor import AHEAD, Executor, Processes
from duet_av.pipelines.cluster.kept import address, kept

PIECES = 20


def test_processes_give_what_this_process_gives_and_load_once_each(tmp_path):
    work = Work(tmp_path)
    assert list(Processes(2).map(work, range(PIECES))) == list(map(pow, range(PIECES), [2] * PIECES))
    assert work.counts("end", PIECES) == [1] * PIECES
    assert 1 <= len(list(tmp_path.glob("loaded.*"))) <= 2
    here = Processes()
    assert here.here
    assert list(here.map(abs, range(-3, 0))) == [3, 2, 1]


def test_pieces_are_read_only_as_far_as_needed(tmp_path):
    read = []
    found = Processes(2).map(Work(tmp_path), (read.append(k) or k for k in range(1000)))
    assert [next(found), next(found)] == [0, 1]
    assert len(read) <= 2 * AHEAD + 1
    found.close()


def test_an_error_of_a_piece_and_a_lost_process_end_the_work(tmp_path):
    with pytest.raises(ValueError, match="The piece 13 is not wanted"):
        list(Processes(2).map(Work(tmp_path, strict=True), range(PIECES)))
    with pytest.raises(ValueError, match="ended before it finished its work"):
        list(Processes(2).map(Work(tmp_path, cursed=(1,)), range(PIECES)))


def test_kept_results_are_not_computed_again_and_damaged_ones_are(tmp_path, monkeypatch):
    calls = []

    class Counting(Executor):
        here, workers = True, 1

        def map(self, function, pieces, *, gpu):
            assert not gpu
            return (calls.append(piece) or function(piece) for piece in pieces)

    power = partial(pow, 2)
    assert list(kept(tmp_path / "k", Counting(), power, range(4))) == [1, 2, 4, 8]
    next(iter((tmp_path / "k").iterdir()))
    (tmp_path / "k" / f"{address(power, 2)}.json").write_text("[1", encoding="utf-8")
    assert list(kept(tmp_path / "k", Counting(), power, range(6))) == [1, 2, 4, 8, 16, 32]
    assert calls == [0, 1, 2, 3, 2, 4, 5]
    assert address(power, 2) != address(partial(pow, 3), 2) != address(partial(pow, 3), 3)
    assert address(power, ("ab", "ab")) == address(power, ("ab", "".join("ab"))), "equal values have one name"
    before = address(power, 2)
    monkeypatch.setattr(kept_module, "pack_digest", lambda: "another pack")
    assert address(power, 2) != before
