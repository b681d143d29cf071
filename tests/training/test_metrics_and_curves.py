"""The metrics file, its plot and the progress bar."""

from __future__ import annotations

import re

import pytest

from reasonembed_rag.errors import TrainingError
from reasonembed_training.curves import draw_curves
from reasonembed_training.log import DevMetrics, MetricsLog, StepMetrics, read_metrics
from reasonembed_training.progress import training_bar
from reasonembed_training.redapter import IntensityStatistics


def intensity(mean=1.5):
    return IntensityStatistics(
        mean=mean, min=0.1, max=5.0, median=1.2, clipped=0.1, kappa=5.0, histogram=tuple(range(20))
    )


def step(number, *, weighted=True):
    return StepMetrics(
        step=number,
        task="biology",
        loss=1.0,
        info_nce=2.0,
        intensity=intensity() if weighted else None,
        gradient_norm=0.5,
        lr=1e-4,
        tokens=1000,
        tokens_per_second=500.0,
        seconds_left=62.0,
    )


def dev(number):
    return DevMetrics(step=number, mean=0.25, sets={"one": 0.2, "two": 0.3}, best=True)


class Tracker:
    def __init__(self):
        self.heard = []

    def log(self, values, *, step):
        self.heard.append((step, values))


def test_lines_come_back_as_they_were_written_and_trackers_hear_numbers(tmp_path):
    tracker = Tracker()
    log = MetricsLog(tmp_path / "run" / "metrics.jsonl", after_step=-1, tracker=tracker)
    log.step(step(1))
    log.dev(dev(1))
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [(line["kind"], line["step"]) for line in lines] == [("train", 1), ("dev", 1)]
    assert lines[0]["intensity"]["histogram"] == list(range(20))
    assert tracker.heard[0][0] == 1
    assert tracker.heard[0][1]["train/intensity/mean"] == 1.5
    assert tracker.heard[1][1]["dev/sets/two"] == 0.3


def test_a_resumed_run_deletes_the_lines_after_its_checkpoint_and_a_truncated_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, after_step=-1)
    for number in range(1, 6):
        log.step(step(number))
    with path.open("a") as file:
        file.write('{"kind": "tra')
    MetricsLog(path, after_step=3).step(step(4))
    assert [line["step"] for line in read_metrics(path)] == [1, 2, 3, 4]


def test_a_bad_line_that_is_not_the_last_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "train"}\nnonsense\n{"kind": "train"}\n')
    with pytest.raises(TrainingError, match=r"metrics\.jsonl:2"):
        read_metrics(path)


@pytest.mark.parametrize("parts", ["all", "no dev", "no intensity"])
def test_curves_are_an_image_whatever_was_measured(tmp_path, parts):
    log = MetricsLog(tmp_path / "metrics.jsonl", after_step=-1)
    for number in range(1, 30):
        log.step(step(number, weighted=parts != "no intensity" and number > 5))
        if parts != "no dev" and number % 10 == 0:
            log.dev(dev(number))
    path = draw_curves(tmp_path)
    assert path == tmp_path / "curves.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_without_a_step_there_is_nothing_to_draw(tmp_path):
    with pytest.raises(TrainingError, match=r"/metrics\.jsonl\b.*\bstep\b"):
        draw_curves(tmp_path)
    MetricsLog(tmp_path / "metrics.jsonl", after_step=-1).dev(dev(0))
    with pytest.raises(TrainingError, match=r"/metrics\.jsonl\b.*\bstep\b"):
        draw_curves(tmp_path)


def test_the_bar_shows_loss_intensity_speed_and_time_left_in_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    with training_bar() as callback:
        callback.message("hello [bold]")
        callback.dev(dev(1))
        callback.step(step(2), steps=2)
    told = " ".join(capsys.readouterr().err.split())
    assert "hello [bold]" in told
    assert re.search(r"\bstep 1\b.*\bnDCG@10 0\.2500\b.*\bone 0\.2000\b.*\btwo 0\.3000\b", told)
    shown = told.partition("Training")[2]
    for figure in (
        r"\b2/2\b",
        r"\b0:01:02\b",
        r"\b2\.000\b",
        r"\b1\.50\b.*\b1\.20\b.*\b0\.10\b.*\b5\.00\b",
        r"\b10%",
        r"\b0\.50\b",
        r"\b500 tokens/s",
        r"\b0\.2500\b",
    ):
        assert re.search(figure, shown)
    with training_bar(show=False) as callback:
        callback.message("silence")
    assert capsys.readouterr().err == ""


def test_the_bar_of_a_step_that_is_not_weighted_shows_no_intensity(capsys):
    with training_bar() as callback:
        callback.step(step(2, weighted=False), steps=2)
    told = capsys.readouterr().err
    assert "loss" in told
    assert "1.20" not in told  # the median, which the bar of a weighted step shows


def test_without_a_terminal_steps_are_lines_not_more_often_than_a_reader_needs(capsys):
    with training_bar() as callback:
        for number in (1, 2, 3, 4):
            callback.step(step(number), steps=4)
    told = " ".join(capsys.readouterr().err.split())
    assert re.findall(r"step (\d) of 4, left 0:01:02: loss 2\.000", told) == ["1", "4"]
