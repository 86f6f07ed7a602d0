r"""Units, counted things and words of scale behind a number: what `18 dollars`, `60 km/h`, `5 million` say beside it.

A unit is read to one name: `\text{ kilometres per hour}`, `km/h` and `kph` are all ``km/h``. Nothing is converted: a
question that asks for metres is not answered in centimetres.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

from leanthink.verify.words import AFTER, COUNTED, HEDGES, JOINING, NO_NOUNS, UNIT_LETTERS

_TABLE = """
mm millimeter millimetre | cm centimeter centimetre | dm decimeter decimetre | m meter metre | km kilometer kilometre
nm nanometer nanometre | in inch inches | ft foot feet | yd yard | mi mile | au | ly lightyear
mg milligram | g gram gm | kg kilogram kilo | oz ounce | lb lbs pound | ton | tonne
ml mL milliliter millilitre cc | cl | dl | l L liter litre | gal gallon | pt pint | qt quart | cup | tbsp tablespoon
tsp teaspoon | ms millisecond | s sec second | min minute | h hr hour | day | week | month | yr year | decade | century
cent ¢ | dollar usd $ buck | euro eur € | £ gbp quid | yen jpy ¥ | rupee rs ₹ | yuan rmb cny | peso | franc
deg degree ° | °C degC celsius degreecelsius degreescelsius centigrade | °F degF fahrenheit | rad radian
N newton | J joule | kJ kilojoule | W watt | kW kilowatt | kWh | V volt | A amp ampere | Ω ohm | Hz hertz | kHz | MHz
Pa pascal | kPa | MPa | atm | C coulomb | K kelvin | mol mole | eV | MeV | cal calorie | kcal | T tesla | F farad | H
byte | bit | kb | mb | gb | tb | mph | kph kmh kmph | rpm | acre | hectare ha | unit | percent pct %
"""
UNITS: Final = {
    name: group.split()[0]
    for line in _TABLE.strip().splitlines()
    for group in line.split("|")
    for name in group.split()
}
_COMPOUND: Final = {"mph": "mi/h", "kph": "km/h"}

_SCALES: Final = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "hundreds": 10**2, "thousands": 10**3, "millions": 10**6, "billions": 10**9, "dozens": 12, "bn": 10**9,
}  # fmt: skip


_OTHER_COMMAND = re.compile(r"\\(?!(?:text|mathrm|rm|mathbf|,|\s|\$|%)(?![A-Za-z]))")


@lru_cache(maxsize=4096)
def unit_of(text: str, *, plain: bool = False) -> str | None:
    r"""The one name of a unit or of what is counted; None where the words are neither.

    Args:
        text: words and signs behind a number, without markup: `km/h`, `square cm`, `cm^2`, `red balls`.
        plain: they stand in the formula itself, where a single letter is a unit only where it usually is one.

    >>> unit_of("kilometers per hour"), unit_of("sq inches"), unit_of("m^2"), unit_of("apples"), unit_of("is wrong")
    ('km/h', 'in^2', 'm^2', '#apples', None)
    """
    text = text.replace("\\circ", "°").replace("^ °", "°").replace("\\cdot", "*").replace("\\times", "*")
    if _OTHER_COMMAND.search(text):
        return None
    text = re.sub(r"\\(?!\$)\w*|[{}]", " ", text).replace("\\$", "$").strip()
    text = text if text.endswith("..") else text.removesuffix(".").strip()
    if (text[:1], text[-1:]) in (("(", ")"), ("[", "]")):
        text = text[1:-1].strip()
    text = re.sub(r"\s*\^\s*", "^", text)
    text = re.sub(r"°\s*(?=[CF]\b)", "°", " ".join(text.split()))
    if not text or len(text) > 60:
        return None
    text = re.sub(r"\b(sq|cu|sec|min|hr|in|ft|yd|lb|oz|mi|gal)\. ?(?=[a-z]|$)", r"\1 ", text).strip()
    text = re.sub(r"^in total|^total$|^altogether$", "units", text)
    over, *under = re.split(r"\s*/\s*|(?:\A|\s+)(?:per|a|an)\s+", text)
    if under and not over:
        over = "unit"
    names = [_product(part, plain=plain and len(under) == 0) for part in (over, *under)]
    if None not in names:
        name = "/".join(str(one) for one in names)
        return _COMPOUND.get(name, name)
    if plain and not re.fullmatch(r"[A-Za-z]{3,}(?: [A-Za-z]{2,})*", text):
        return None
    return _counted(text.lower())


def _product(text: str, *, plain: bool) -> str | None:
    """Units multiplied: `kg*m`, `m s^-1`."""
    parts = [_power(part, plain=plain) for part in text.split("*")]
    return None if None in parts else "*".join(str(part) for part in parts)


def _power(text: str, *, plain: bool) -> str | None:
    """One unit with its power."""
    words = text.split()
    power = ""
    if words and words[0].lower() in ("square", "sq", "cubic", "cu"):
        power = "2" if words[0].lower() in ("square", "sq") else "3"
        words = words[1:]
    elif len(words) > 1 and words[-1].lower() in ("squared", "cubed"):
        power = "2" if words[-1].lower() == "squared" else "3"
        words = words[:-1]
    if words and (match := re.fullmatch(r"(\D+?)\^?(-?[123])", words[-1])):
        words, power = [*words[:-1], match[1]], match[2]
    name = "".join(words)
    if not name or (len(words) > 1 and name.lower() not in UNITS):
        return None
    if plain and len(name) == 1 and name.isalpha() and name not in UNIT_LETTERS:
        return None
    found = UNITS.get(name) or (
        UNITS.get(name.lower()) or UNITS.get(name.lower().removesuffix("s")) if len(name) > 1 else None
    )
    if found is None:
        return None
    return f"{found}^{power}" if power and power != "1" else found


def _counted(text: str) -> str | None:
    """What is counted, as `red balls`: at most four words, of which the last before any "of" or "per" is a noun."""
    words = text.split()
    while len(words) > 1 and words[-1] in AFTER:
        words.pop()
    if len(words) > 1 and words[0] == "more":
        words = words[1:]
    if (
        not 1 <= len(words) <= 4
        or words[-1] in JOINING
        or not all(re.fullmatch(r"[a-z][a-z'-]*", word) for word in words)
    ):
        return None
    if any(word in NO_NOUNS or word in _SCALES or word in HEDGES for word in words):
        return None
    head = [word for word in re.split(r"\b(?:of|per|in|each|for)\b", " ".join(words))[0].split() if word not in JOINING]
    if not head:
        return None
    last = head[-1]
    noun = last in COUNTED or (len(last) > 3 and last.endswith("s") and not last.endswith(("ss", "ous", "us", "is")))
    return "#" + " ".join(words) if noun else None


def scale_of(text: str) -> tuple[Fraction, str]:
    """A word of scale at the head of a text, as a factor, and the rest.

    >>> scale_of("million dollars"), scale_of("dollars")
    ((Fraction(1000000, 1), 'dollars'), (Fraction(1, 1), 'dollars'))
    """
    factor, words = Fraction(1), text.split()
    while words and words[0].lower() in _SCALES:
        factor *= _SCALES[words.pop(0).lower()]
    return factor, " ".join(words)
