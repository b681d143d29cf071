"""The cache: kept whatever happens, and only for its own corpus."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts import run_script

from reasonembed_rag.errors import StoreError
from reasonembed_rag.llm.cache import CachedReply, ResponseCache
from reasonembed_rag.llm.chat import Answer
from reasonembed_rag.llm.model import answer_key
from reasonembed_rag.llm.settings import ChatModelSettings, TokenUsage

KEY = b"0123456789abcdef"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "journal.sqlite"


def _add(cache: ResponseCache, key: bytes, entry: CachedReply, *, stage: str = "judge", model: str = "m") -> None:
    cache.add(key, entry, stage=stage, model=model)


def test_an_answer_comes_back_as_it_was(path: Path):
    answer = Answer("yes\n\u00e9\u4e2d", truncated=True, input_tokens=3, output_tokens=4)
    with ResponseCache.open(path, corpus="c") as cache:
        _add(cache, KEY, CachedReply(answer))
        assert cache.get(KEY) == CachedReply(answer)
        assert cache.get(b"another") is None
    with ResponseCache.open(path, corpus="c") as cache:
        assert cache.get(KEY) == CachedReply(answer)


def test_a_failure_gives_way_to_an_answer_and_an_answer_to_nothing(path: Path):
    good, other = Answer("good", input_tokens=1, output_tokens=1), Answer("other", input_tokens=1, output_tokens=1)
    with ResponseCache.open(path, corpus="c") as cache:
        _add(cache, KEY, CachedReply(None, "HTTP 400"))
        assert cache.get(KEY) == CachedReply(None, "HTTP 400")
        _add(cache, KEY, CachedReply(good))
        _add(cache, KEY, CachedReply(other))
        _add(cache, KEY, CachedReply(None, "HTTP 400"))
        assert cache.get(KEY) == CachedReply(good)
        assert len(cache) == 1


def test_what_was_spent_is_counted_by_stage_and_model(path: Path):
    with ResponseCache.open(path, corpus="c") as cache:
        for number in range(3):
            _add(cache, bytes([number]) * 16, CachedReply(Answer("a", input_tokens=10, output_tokens=2)))
        _add(cache, b"x" * 16, CachedReply(None, "HTTP 400"))
        _add(cache, b"y" * 16, CachedReply(Answer("a", input_tokens=1, output_tokens=1)), stage="clean")
        _add(cache, b"z" * 16, CachedReply(Answer("a", input_tokens=1, output_tokens=1)), model="n")
        assert cache.usage(stage="judge", model="m") == TokenUsage(calls=3, input_tokens=30, output_tokens=6)
        assert cache.usage(stage="reason", model="m") == TokenUsage()


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
        config = ChatModelSettings(name=f"m{model}", parameters=parameters)
        return answer_key(config, stage, prompt, attempt=attempt)

    assert (key(*first) == key(*second)) == (first == second)


def test_a_second_run_in_the_same_folder_is_refused(path: Path):
    with ResponseCache.open(path, corpus="c"), pytest.raises(StoreError, match=r"/journal\.sqlite\b.*\bprocess\b"):
        ResponseCache.open(path, corpus="c")
    ResponseCache.open(path, corpus="c").close()


def test_the_cache_of_another_corpus_is_refused_and_left_as_it_was(path: Path):
    with ResponseCache.open(path, corpus="first") as cache:
        _add(cache, KEY, CachedReply(Answer("a")))
    with pytest.raises(StoreError, match=r"\bcorpus\b.*\bfirst\b.*\bsecond\b"):
        ResponseCache.open(path, corpus="second")
    with ResponseCache.open(path, corpus="first") as cache:
        assert cache.get(KEY).answer.text == "a"


def test_a_cache_without_answers_goes_over_to_another_corpus(path: Path):
    ResponseCache.open(path, corpus="mistaken").close()
    with ResponseCache.open(path, corpus="second") as cache:
        _add(cache, KEY, CachedReply(Answer("a")))
    with pytest.raises(StoreError, match=r"\bcorpus\b.*\bsecond\b.*\bmistaken\b"):
        ResponseCache.open(path, corpus="mistaken")


def test_another_format_and_a_file_that_is_not_a_cache_are_refused(path: Path):
    ResponseCache.open(path, corpus="c").close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE about SET value = '99' WHERE name = 'format'")
    connection.close()
    with pytest.raises(StoreError, match=r"\bformat\b.*\b99\b.*\b1\b"):
        ResponseCache.open(path, corpus="c")
    path.write_bytes(b"not a database, and long enough to be told apart from one" * 20)
    with pytest.raises(StoreError, match=r"/journal\.sqlite\b.*not a database"):
        ResponseCache.open(path, corpus="c")


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"/file/journal\.sqlite\b"):
        ResponseCache.open(tmp_path / "file" / "journal.sqlite", corpus="c")


def test_many_threads_lose_no_answer(path: Path):
    with ResponseCache.open(path, corpus="c") as cache:

        def work(start: int) -> None:
            for number in range(start, 400, 8):
                key = number.to_bytes(16)
                _add(cache, key, CachedReply(Answer(str(number), input_tokens=1, output_tokens=1)))

        threads = [threading.Thread(target=work, args=(start,)) for start in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [cache.get(number.to_bytes(16)).answer.text for number in range(400)] == [str(n) for n in range(400)]


_WRITER = """
import sys
from pathlib import Path
from reasonembed_rag.llm.chat import Answer
from reasonembed_rag.llm.cache import CachedReply, ResponseCache
limit = int(sys.argv[2])
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
cache = ResponseCache.open(Path(sys.argv[1]), corpus="c")
for number in range(100_000):
    try:
        cache.add(number.to_bytes(16), CachedReply(Answer("x" * 500)), stage="judge", model="m")
    except Exception as error:
        print("error", type(error).__name__, error, flush=True)
        break
    print(number, flush=True)
"""


def _writer(path: Path, *, limit: int = 0) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", _WRITER, str(path), str(limit)], stdout=subprocess.PIPE, text=True)


def _holds(path: Path, last: int) -> None:
    with ResponseCache.open(path, corpus="c") as cache:
        assert all(cache.get(number.to_bytes(16)).answer.text == "x" * 500 for number in range(last + 1))


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
def test_a_full_disk_is_an_error_and_leaves_the_cache_intact(path: Path):
    process = _writer(path, limit=400_000)
    said = process.communicate()[0].splitlines()
    assert said[-1].startswith("error StoreError")
    assert str(path) in said[-1]
    _holds(path, len(said) - 2)


def test_a_full_database_is_reported_as_a_full_disk(path: Path):
    with ResponseCache.open(path, corpus="c") as cache:
        cache._database._connection.execute("PRAGMA max_page_count = 20")
        with pytest.raises(StoreError, match=r"/journal\.sqlite\b.*\bdisk\b"):
            _fill(cache)


def _fill(cache: ResponseCache) -> None:
    for number in range(1000):
        _add(cache, number.to_bytes(16), CachedReply(Answer("x" * 500)))


def test_answers_that_an_older_version_stored_are_found(path: Path):
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.executescript(
            """CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
            CREATE TABLE answers (
                number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, stage TEXT NOT NULL, model TEXT NOT NULL,
                text TEXT, truncated INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
                failure TEXT
            );
            INSERT INTO about VALUES ('format', '1'), ('corpus', 'c');
            INSERT INTO answers VALUES (1, x'8a3fdd086f6d7ab1ca0f8e432cba1072', 'judge', 'tiny', 'yes', 0, 3, 1, NULL);
            INSERT INTO answers VALUES (2, x'13b1603d4fef251a1e7c8a954db3ff84', 'clean', 'tiny', NULL, 0, 0, 0, 'bad');
            """
        )
    connection.close()
    asked = ChatModelSettings(name="tiny", parameters={"temperature": 0.7, "max_tokens": 2048})
    for corpus in ("c", None):
        with ResponseCache.open(path, corpus=corpus) as cache:
            found = cache.get(answer_key(asked, "judge", "Is it so?", attempt=1))
            assert found == CachedReply(Answer("yes", input_tokens=3, output_tokens=1))
            plain = answer_key(ChatModelSettings(name="tiny"), "clean", "Is it so?", attempt=0)
            assert cache.get(plain) == CachedReply(None, "bad")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_refused_and_leaves_the_cache_to_its_parent(path: Path):
    run_script(
        """
from pathlib import Path
from reasonembed_rag.errors import StoreError
from reasonembed_rag.llm import Answer
from reasonembed_rag.llm.cache import CachedReply, ResponseCache
path = Path(sys.argv[1])
cache = ResponseCache.open(path)
def add(number):
    cache.add(str(number).encode(), CachedReply(Answer("text")), stage="s", model="m")
def child():
    raises(StoreError, lambda: add(99), "fork")
    raises(StoreError, lambda: len(cache), "fork")
    raises(StoreError, lambda: ResponseCache.open(path), str(path))
    cache.close()
for number in range(5):
    add(number)
    in_child(child, leave=sys.exit)
    in_child(lambda: globals().pop("cache"), leave=sys.exit)
cache.close()
assert len(ResponseCache.open(path)) == 5
""",
        path,
    )
