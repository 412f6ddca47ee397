"""Words of a text in any language.

Letters are compared without case and in one form (NFKC and casefold: full-width, capital and small `mug` are one word, `Straße` is
`strasse`); accents stay, for they tell words apart. A word is a run of letters, marks and digits: marks, so that a Hindi word is not cut
at its vowel signs.
Scripts without spaces: runs of Han characters are cut by the dictionary of rjieba (kept here for Chinese; Japanese kanji are cut by it
too), runs of kana, Thai, Lao, Khmer and Burmese into overlapping pairs of characters. Korean has spaces.
"""

import re
import sys
import unicodedata
from functools import cache

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff々"
PAIRED = "\u3040-\u30ff\u31f0-\u31ff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_ASCII_WORD = re.compile("[a-z0-9]+")


@cache
def _runs() -> re.Pattern[str]:
    """Groups: a run of Han, a run of a script that is paired, any other word."""
    marks = "".join(map(chr, filter(lambda code: unicodedata.category(chr(code))[0] == "M", range(sys.maxunicode + 1))))
    letter = rf"(?:(?![{HAN}{PAIRED}_])[\w{re.escape(marks)}])"
    return re.compile(rf"([{HAN}]+)|((?:(?=[\w{re.escape(marks)}])[{PAIRED}])+)|({letter}+)")


def tokens(text: str) -> list[str]:
    """The words of `text`, in order; empty where it has none."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    from rjieba import cut

    found: list[str] = []
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    for han, paired, word in _runs().findall(plain):
        if han:
            found += cut(han)
        elif paired:
            found += [paired[place : place + 2] for place in range(max(len(paired) - 1, 1))]
        else:
            found.append(word)
    return found
