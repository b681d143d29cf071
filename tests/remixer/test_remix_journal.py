"""The journal: kept whatever happens, and only for its own corpus."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonembed_rag.errors import TrainingError
from reasonembed_rag.llm.cache import Entry, Journal
from reasonembed_rag.llm.chat import Answer
from reasonembed_rag.llm.config import ChatModelConfig, Spent
from reasonembed_rag.llm.model import answer_key

KEY = b"0123456789abcdef"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "journal.sqlite"


def _add(journal: Journal, key: bytes, entry: Entry, *, stage: str = "judge", model: str = "m") -> None:
    journal.add(key, entry, stage=stage, model=model)


def test_an_answer_comes_back_as_it_was(path: Path):
    answer = Answer("yes\n\u00e9\u4e2d", truncated=True, input_tokens=3, output_tokens=4)
    with Journal.open(path, corpus="c") as journal:
        _add(journal, KEY, Entry(answer))
        assert journal.get(KEY) == Entry(answer)
        assert journal.get(b"another") is None
    with Journal.open(path, corpus="c") as journal:
        assert journal.get(KEY) == Entry(answer)


def test_a_failure_gives_way_to_an_answer_and_an_answer_to_nothing(path: Path):
    good, other = Answer("good", input_tokens=1, output_tokens=1), Answer("other", input_tokens=1, output_tokens=1)
    with Journal.open(path, corpus="c") as journal:
        _add(journal, KEY, Entry(None, "HTTP 400"))
        assert journal.get(KEY) == Entry(None, "HTTP 400")
        _add(journal, KEY, Entry(good))
        _add(journal, KEY, Entry(other))
        _add(journal, KEY, Entry(None, "HTTP 400"))
        assert journal.get(KEY) == Entry(good)
        assert len(journal) == 1


def test_what_was_spent_is_counted_by_stage_and_model(path: Path):
    with Journal.open(path, corpus="c") as journal:
        for number in range(3):
            _add(journal, bytes([number]) * 16, Entry(Answer("a", input_tokens=10, output_tokens=2)))
        _add(journal, b"x" * 16, Entry(None, "HTTP 400"))
        _add(journal, b"y" * 16, Entry(Answer("a", input_tokens=1, output_tokens=1)), stage="clean")
        _add(journal, b"z" * 16, Entry(Answer("a", input_tokens=1, output_tokens=1)), model="n")
        assert journal.spent(stage="judge", model="m") == Spent(calls=3, input_tokens=30, output_tokens=6)
        assert journal.spent(stage="reason", model="m") == Spent()


_KEYS = st.tuples(
    st.sampled_from(["clean", "generate", "reason", "judge"]),
    st.text(max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(0, 2), max_size=2),
    st.text(max_size=5),
    st.integers(0, 3),
)


@settings(deadline=None)
@given(_KEYS, _KEYS)
def test_keys_are_equal_only_where_stage_model_parameters_prompt_and_attempt_are(first, second):
    def key(stage, model, parameters, prompt, attempt):
        config = ChatModelConfig(name=f"m{model}", parameters=parameters)
        return answer_key(config, stage, prompt, attempt=attempt)

    assert (key(*first) == key(*second)) == (first == second)


def test_a_second_run_in_the_same_folder_is_refused(path: Path):
    with Journal.open(path, corpus="c"), pytest.raises(TrainingError, match=r"/journal\.sqlite\b.*\brun\b"):
        Journal.open(path, corpus="c")
    Journal.open(path, corpus="c").close()


def test_the_journal_of_another_corpus_is_refused_and_left_as_it_was(path: Path):
    with Journal.open(path, corpus="first") as journal:
        _add(journal, KEY, Entry(Answer("a")))
    with pytest.raises(TrainingError, match=r"\bcorpus\b.*\bfirst\b.*\bsecond\b"):
        Journal.open(path, corpus="second")
    with Journal.open(path, corpus="first") as journal:
        assert journal.get(KEY).answer.text == "a"


def test_a_journal_without_answers_goes_over_to_another_corpus(path: Path):
    Journal.open(path, corpus="mistaken").close()
    with Journal.open(path, corpus="second") as journal:
        _add(journal, KEY, Entry(Answer("a")))
    with pytest.raises(TrainingError, match=r"\bcorpus\b.*\bsecond\b.*\bmistaken\b"):
        Journal.open(path, corpus="mistaken")


def test_another_format_and_a_file_that_is_no_journal_are_refused(path: Path):
    Journal.open(path, corpus="c").close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE about SET value = '99' WHERE name = 'format'")
    connection.close()
    with pytest.raises(TrainingError, match=r"\bformat\b.*\b99\b.*\b1\b"):
        Journal.open(path, corpus="c")
    path.write_bytes(b"not a database, and long enough to be told apart from one" * 20)
    with pytest.raises(TrainingError, match=r"/journal\.sqlite\b.*not a database"):
        Journal.open(path, corpus="c")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"/file/journal\.sqlite\b"):
        Journal.open(tmp_path / "file" / "journal.sqlite", corpus="c")


def test_many_threads_lose_no_answer(path: Path):
    with Journal.open(path, corpus="c") as journal:

        def work(start: int) -> None:
            for number in range(start, 400, 8):
                key = number.to_bytes(16)
                _add(journal, key, Entry(Answer(str(number), input_tokens=1, output_tokens=1)))

        threads = [threading.Thread(target=work, args=(start,)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [journal.get(number.to_bytes(16)).answer.text for number in range(400)] == [str(n) for n in range(400)]


_WRITER = """
import sys
from pathlib import Path
from reasonembed_rag.llm.chat import Answer
from reasonembed_rag.llm.cache import Entry, Journal
limit = int(sys.argv[2])
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
journal = Journal.open(Path(sys.argv[1]), corpus="c")
for number in range(100_000):
    try:
        journal.add(number.to_bytes(16), Entry(Answer("x" * 500)), stage="judge", model="m")
    except Exception as error:
        print("error", type(error).__name__, error, flush=True)
        break
    print(number, flush=True)
"""


def _writer(path: Path, *, limit: int = 0) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", _WRITER, str(path), str(limit)], stdout=subprocess.PIPE, text=True)


def _holds(path: Path, last: int) -> None:
    with Journal.open(path, corpus="c") as journal:
        assert all(journal.get(number.to_bytes(16)).answer.text == "x" * 500 for number in range(last + 1))


def test_a_killed_writer_loses_nothing_that_was_added(path: Path):
    process = _writer(path)
    said = [process.stdout.readline() for _ in range(500)]
    process.send_signal(signal.SIGKILL)
    said += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    numbers = [int(line) for line in said if line.endswith("\n")]
    _holds(path, numbers[-1])


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_disk_without_room_is_told_and_leaves_the_journal_whole(path: Path):
    process = _writer(path, limit=400_000)
    said = process.communicate()[0].splitlines()
    assert said[-1].startswith("error TrainingError")
    assert str(path) in said[-1]
    _holds(path, len(said) - 2)


def test_a_full_database_is_told_as_a_full_disk(path: Path):
    with Journal.open(path, corpus="c") as journal:
        journal._connection.execute("PRAGMA max_page_count = 20")
        with pytest.raises(TrainingError, match=r"/journal\.sqlite\b.*\bdisk\b"):
            _fill(journal)


def _fill(journal: Journal) -> None:
    for number in range(1000):
        _add(journal, number.to_bytes(16), Entry(Answer("x" * 500)))
