"""Synonyms are read from files in WordNet's and mythes' own formats, wherever systems keep them."""

import re
from pathlib import Path

import pytest

from reasonembed_rag.errors import InputError, MissingDependencyError, ReasonEmbedError
from reasonembed_rag.perturb import thesaurus
from reasonembed_rag.perturb.thesaurus import find_thesaurus, open_thesaurus, read_mythes, read_wordnet

_LICENCE = "  1 This software and database is being provided to you, the LICENSEE, by  \n"
_TWELVE = "alpha 0 beta 0 gamma 0 delta 0 epsilon 0 zeta 0 iota 0 kappa 0 lambda 0 omicron 0 sigma 0 tau 0"
_DATA = {
    "noun": (
        '00001740 17 n 03 planet 0 major_planet 0 satellite 1 001 @ 00001741 n 0000 | a body; "a sphere (of rock)"  \n'
        "00001741 17 n 02 box 0 carton 0 000 | a container  \n"
        "00001742 17 n 02 berry 0 fruit 0 000 | a thing to eat  \n"
        "00001743 28 n 02 March 0 Mar 0 000 | a month  \n"
        "00001744 03 n 01 entity 0 000 | alone  \n"
        f"00001745 17 n 0c {_TWELVE} 000 | twelve words: the count is hexadecimal  \n"
    ),
    "adj": "00003000 00 a 02 large(a) 0 big 0 000 | above average  \n",
    "verb": "00002000 38 v 02 move 0 go 0 01 + 02 00 | change place  \n",
}
_MYTHES = (
    "UTF-8\n"
    "large|2\n"
    "(adj)|big|great (similar term)|small (antonym)|large-scale\n"
    "(adj)|bombastic|large|declamatory\n"
    "naïve|1\n"
    "(adj)|simple\n"
    "more than one word|1\n"
    "(adj)|several\n"
)


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    folder = tmp_path / "wordnet"
    folder.mkdir()
    for part, lines in _DATA.items():
        (folder / f"data.{part}").write_text(_LICENCE + lines)
    return folder


@pytest.fixture
def mythes(tmp_path: Path) -> Path:
    path = tmp_path / "th_en_US_v2.dat"
    path.write_text(_MYTHES, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("word", "synonyms"),
    [
        ("planet", ("satellite",)),
        ("Planet", ("Satellite",)),
        ("planets", ("satellites",)),
        ("box", ("carton",)),
        ("boxes", ("cartons",)),
        ("berries", ("fruits",)),
        ("fruits", ("berries",)),
        ("large", ("big",)),
        ("march", ()),
        ("March", ()),
        ("PLANET", ()),
        ("entity", ()),
        ("move", ()),
        ("planet's", ()),
        ("major", ()),
        ("sphere", ()),
        ("", ()),
    ],
)
def test_wordnet_gives_the_other_single_words_of_a_synset(wordnet, word, synonyms):
    assert read_wordnet(wordnet).synonyms(word) == synonyms


def test_the_count_of_a_synset_s_words_is_hexadecimal(wordnet):
    assert len(read_wordnet(wordnet).synonyms("alpha")) == 11


def test_mythes_gives_synonyms_and_no_related_words(mythes):
    found = read_mythes(mythes)
    assert found.synonyms("large") == ("big", "bombastic", "declamatory")
    assert set(found.entries) == {"large"}


def test_a_mythes_file_of_another_encoding_is_read(tmp_path):
    path = tmp_path / "th_en_GB.dat"
    path.write_bytes(b"ISO8859-1\ncaf\xe9|1\n(noun)|bar\nlarge|1\n(adj)|big\n")
    assert read_mythes(path).entries == {"large": ("big",)}


def test_the_environment_names_the_place_first(wordnet, monkeypatch):
    monkeypatch.setenv("WNSEARCHDIR", str(wordnet))
    assert find_thesaurus() == read_wordnet(wordnet)
    (wordnet.parent / "dict").symlink_to(wordnet)
    monkeypatch.delenv("WNSEARCHDIR")
    monkeypatch.setenv("WNHOME", str(wordnet.parent))
    assert find_thesaurus() == read_wordnet(wordnet)


def test_a_thesaurus_is_opened_by_what_it_is(wordnet, mythes, tmp_path):
    assert open_thesaurus(wordnet).name == "WordNet"
    assert open_thesaurus(mythes).name == "mythes"
    (tmp_path / "glove.txt").write_text("large 1 0 0\nbig 0.9 0.1 0\n")
    assert open_thesaurus(tmp_path / "glove.txt").synonyms("large") == ("big",)
    with pytest.raises(InputError, match=r"/words\.json\b.*\bdata\.noun\b"):
        open_thesaurus(tmp_path / "words.json")


def test_what_is_absent_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setattr(thesaurus, "_candidate_paths", lambda: iter([tmp_path / "nowhere", tmp_path / "absent.dat"]))
    with pytest.raises(MissingDependencyError, match=r"\bWordNet\b.*\bapt-get install wordnet-base\b") as error:
        find_thesaurus()
    assert isinstance(error.value, ReasonEmbedError)


@pytest.mark.parametrize("line", ["nonsense\n", "00001740 17 n zz planet 0 000 | x\n", "00001740 17 n\n"])
def test_a_damaged_wordnet_is_named_by_its_line(wordnet, line):
    (wordnet / "data.noun").write_text(_LICENCE + line)
    with pytest.raises(InputError, match=rf"\bdata\.noun:2\b.*{re.escape(repr(line))}"):
        read_wordnet(wordnet)


def test_files_other_than_a_thesaurus_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"\bdata\.noun, data\.verb, data\.adj\b"):
        read_wordnet(tmp_path)
    for text, problem in (
        ("UTF-8\nlarge\n", r"\bth_en\.dat:2\b.*'large'"),
        ("NO-SUCH-CODE\na|1\n", r"\bth_en\.dat\b.*\bNO-SUCH-CODE\b"),
        ("", r"/th_en\.dat\b.*\bencoding\b"),
    ):
        (tmp_path / "th_en.dat").write_text(text)
        with pytest.raises(InputError, match=problem):
            read_mythes(tmp_path / "th_en.dat")
    with pytest.raises(InputError, match=r"/absent\.dat\b"):
        read_mythes(tmp_path / "absent.dat")
