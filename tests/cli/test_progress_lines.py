"""Progress in a log: nothing in the first minute, then a line a minute with the time that is left."""

from __future__ import annotations

import subprocess
import sys

from reasonembed_cli.progress_lines import ProgressLines


def test_a_long_run_writes_a_line_a_minute_with_the_time_left():
    now, lines = [0.0], []
    progress = ProgressLines(write=lines.append, clock=lambda: now[0])
    for second in range(181):
        now[0] = float(second)
        progress.show("Encoding", second, 240, more="3 tokens")
    assert lines == [
        "Encoding: 60 of 240 (25 %), 0:01:00, 0:03:00 left; 3 tokens",
        "Encoding: 120 of 240 (50 %), 0:02:00, 0:02:00 left; 3 tokens",
        "Encoding: 180 of 240 (75 %), 0:03:00, 0:01:00 left; 3 tokens",
    ]


def test_steps_share_the_minute_and_have_their_own_times():
    now, lines = [0.0], []
    progress = ProgressLines(write=lines.append, clock=lambda: now[0])
    progress.show("one", 0, None)
    for second, step in ((70.0, "one"), (80.0, "two"), (140.0, "two")):
        now[0] = second
        progress.show(step, int(second), None)
    assert lines == ["one: 70, 0:01:10", "two: 140, 0:01:00"]


def test_without_a_terminal_a_short_run_leaves_no_bar():
    script = "from reasonembed_cli.progress import progress_of\n"
    script += "with progress_of('Encoding', 'Searching') as (encoding, searching): encoding(1, 2); searching(2, 2)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")
