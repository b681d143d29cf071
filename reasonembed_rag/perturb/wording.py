"""The words of a query, without code and formulae, and whether it is English."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["QUERY_STOP_WORDS", "Word", "is_english", "words_of"]

_STOP_WORDS = (
    "a an the this that these those "
    "i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers "
    "herself it its itself they them their theirs themselves "
    "what which who whom whose when where why how "
    "am is are was were be been being have has had having do does did doing done will would shall should can could may "
    "might must ought "
    "and or but nor if because as until while than then so though although whether "
    "of at by for with about against between into through during before after above below to from up down in out on "
    "off over under again further once onto upon within without toward towards "
    "here there all any both each few more most other another some such no not only own same too very just now also "
    "don ain aren couldn didn doesn hadn hasn haven isn mustn needn shan shouldn wasn weren wouldn won ll re ve"
)
_CONTRACTED = (
    "i'm i've i'd i'll you're you've you'll you'd he's he'd he'll she's she'd she'll it's it'd it'll we're we've we'd "
    "we'll they're they've they'd they'll that's that'll there's here's what's who's where's when's why's how's let's "
    "don't doesn't didn't isn't aren't wasn't weren't haven't hasn't hadn't won't wouldn't shan't shouldn't can't "
    "cannot couldn't mustn't needn't mightn't ain't should've could've would've"
)
QUERY_STOP_WORDS = frozenset(f"{_STOP_WORDS} {_CONTRACTED}".split())
"""English function words; in lower case with a straight apostrophe."""

_FOREIGN_WORDS = (
    "der das und ist nicht ein eine einen dem den des mit für auf von zu wie warum sind sich auch "
    "le les la une dans pour qui que quoi est pas sur avec pourquoi comment sont du au aux et "
    "el los las una del por con para qué cómo como es y más según "
    "il gli che di per non sono perché nel della "
    "não uma os dos das em são porque "
    "het een van niet dat zijn waarom hoe met voor op"
)
_FOREIGN = frozenset(_FOREIGN_WORDS.split())
"""Frequent words of German, French, Spanish, Italian, Portuguese and Dutch that are not English words."""

_LATIN_SHARE = 0.9
"""The least share of Latin letters in an English text."""
_BEYOND_LATIN = "\u0250"

_INTACT = (
    r"```.*?(?:```|\Z)",  # a fenced block of code
    r"`[^`\n]+`",
    r"\$\$.+?\$\$",
    r"\$(?=\S)[^$\n]{1,400}?(?<=\S)\$(?!\d)",  # a formula, not two amounts of money
    r"\\\(.+?\\\)|\\\[.+?\\\]",
    r"\\begin\{(?P<environment>\w+\*?)\}.*?\\end\{(?P=environment)\}",
    r"(?m:^(?:\ {4}|\t)\S[^\n]*$)",  # a line of code, indented as Markdown has it
    r"(?i:https?://|www\.)\S+",
    # A piece with a sign of code, a path, a name in camelCase, letters mixed with digits.
    r"(?<!\S)\S*(?:[_=\\^{}<>|~@#\[\]*]|\$[^\W\d]|\w\(|\w\.\w|::|\w/\w+/|[a-z][A-Z]|\d[^\W\d]|[^\W\d]\d)\S*",
)
_PLAIN = r"(?<!\S)[A-Z]?[a-z]+(?=[,.;:?!)]*(?:\s|\Z))"
"""The usual word, matched first because that is fast."""
_WORD = r"[^\W_]+(?:['\u2019][^\W_]+)*"
_PIECE = re.compile(rf"(?P<plain>{_PLAIN})|(?P<intact>{'|'.join(_INTACT)})|(?P<word>{_WORD})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Word:
    """A word and where it starts in its text."""

    start: int
    text: str

    @property
    def stop(self) -> int:
        """The end of the word."""
        return self.start + len(self.text)

    @property
    def plain(self) -> str:
        """The word in lower case with a straight apostrophe."""
        return self.text.lower().replace("\u2019", "'")

    @property
    def is_stop_word(self) -> bool:
        """Whether the word is a function word."""
        return self.plain in QUERY_STOP_WORDS


def words_of(text: str) -> list[Word]:
    """Return the words of a text in order, without those of code, formulae and URLs."""
    return [Word(piece.start(), piece.group()) for piece in _PIECE.finditer(text) if piece.lastgroup != "intact"]


def is_english(words: list[Word]) -> bool:
    """Return whether words may be English: Latin letters, and no more foreign function words than English ones.

    Words without any function word, such as a keyword query, count as English.
    """
    letters = "".join(word.text for word in words if not word.text.isdigit())
    if not letters or sum(letter < _BEYOND_LATIN for letter in letters) < _LATIN_SHARE * len(letters):
        return False
    foreign = sum(word.plain in _FOREIGN and word.plain not in QUERY_STOP_WORDS for word in words)
    return foreign <= sum(word.is_stop_word for word in words)
