"""English number words, as a transcriber would write what was said."""

from __future__ import annotations

import re

_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
fifteen sixteen seventeen eighteen nineteen""".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"))
_LARGEST = 10**15
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_SYMBOLS = {"%": " percent ", "&": " and "}
_MONEY = {"$": ("dollar", "dollars"), "\u00a3": ("pound", "pounds"), "\u20ac": ("euro", "euros")}

_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d|,\d)")
_PRICE = re.compile(r"([$\u00a3\u20ac])\s?(\d+)(?!\d|\.\d)")
_CLOCK = re.compile(r"(?<![\d:])(\d{1,2}):(\d\d)(?![\d:])")
_ORDINAL = re.compile(r"(?<!\d)(\d+)(?:st|nd|rd|th)\b", re.IGNORECASE)
_DECIMAL = re.compile(r"(?<![\d.])(\d+)\.(\d+)(?!\d|\.\d)")
_DIGITS = re.compile(r"\d+")


def spell_numbers(text: str) -> str:
    """The text with every number in words.

    `21` twenty one, `1,500` one thousand five hundred, `007` zero zero seven, `3.14` three point
    one four, `2nd` second, `10:05` ten oh five, `$3` three dollars, `%` percent, `&` and. Digits
    of other scripts are read as numbers too. More than 15 digits are read one by one.
    """
    for symbol, word in _SYMBOLS.items():
        text = text.replace(symbol, word)
    text = _GROUPED.sub(lambda m: m[0].replace(",", ""), text)
    text = _PRICE.sub(lambda m: _spaced(_price(m[1], m[2])), text)
    text = _CLOCK.sub(lambda m: _spaced(_clock(m[1], m[2])), text)
    text = _ORDINAL.sub(lambda m: _spaced(_ordinal(_integer(m[1]))), text)
    text = _DECIMAL.sub(lambda m: _spaced(f"{_integer(m[1])} point {_one_by_one(m[2])}"), text)
    return _DIGITS.sub(lambda m: _spaced(_integer(m[0])), text)


def cardinal(number: int) -> str:
    """A number from 0 to 10**15 - 1 in words, without `and`: `one hundred five`."""
    if number < 20:
        return _SMALL[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _joined(_TENS[tens - 2], ones)
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        return _joined(f"{_SMALL[hundreds]} hundred", rest)
    size, name = next(scale for scale in _SCALES if number >= scale[0])
    count, rest = divmod(number, size)
    return _joined(f"{cardinal(count)} {name}", rest)


def _joined(words: str, rest: int) -> str:
    return f"{words} {cardinal(rest)}" if rest else words


def _integer(digits: str) -> str:
    """As a number, or one by one where it begins with 0 (a code) or is too long to read."""
    if (len(digits) > 1 and int(digits[0]) == 0) or len(digits) > 15:
        return _one_by_one(digits)
    return cardinal(int(digits))


def _one_by_one(digits: str) -> str:
    return " ".join(_SMALL[int(digit)] for digit in digits)


def _ordinal(words: str) -> str:
    *front, last = words.split()
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return " ".join((*front, last))


def _clock(hours: str, minutes: str) -> str:
    if int(minutes) == 0:
        return f"{cardinal(int(hours))} o'clock"
    oh = "oh " if int(minutes) < 10 else ""
    return f"{cardinal(int(hours))} {oh}{cardinal(int(minutes))}"


def _price(symbol: str, digits: str) -> str:
    one, many = _MONEY[symbol]
    words = _integer(digits)
    return f"{words} {one if words == 'one' else many}"


def _spaced(words: str) -> str:
    return f" {words} "
