"""Values: from items to exact Python values, and from values to the way people write them."""

from __future__ import annotations

from fractions import Fraction

from fxprune.lang import tree
from fxprune.lang.ast import NM, Percent, Size, Value, Variable

__all__ = ["BARE", "quoted", "spell", "tidy", "value_of", "written"]

BARE: dict[str, bool | None] = {
    "yes": True,
    "no": False,
    "true": True,
    "false": False,
    "True": True,
    "False": False,
    "none": None,
    "None": None,
}


def value_of(node: tree.Value | tree.Duration) -> Value:
    """The value of an item; a bare word that is not yes, no, true, false or none is a text."""
    match node:
        case tree.Word(text=text):
            return BARE.get(text, text)
        case tree.Path(text=text) | tree.Text(text=text):
            return text
        case tree.Number(value=value) | tree.Times(factor=value):
            return int(value) if value.denominator == 1 else value
        case tree.Percent(share=share):
            return Percent(share, span=node.span)
        case tree.Size(sides=sides):
            return Size(sides, span=node.span)
        case tree.Ratio(left=left, right=right):
            return NM(left, right, span=node.span)
        case tree.Bound(name=name):
            return Variable(name, span=node.span)
        case tree.ListOf(values=values):
            return tuple(value_of(value) for value in values)
        case tree.Duration(count=count):
            return value_of(count)


def spell(value: int | Fraction, *, thousand: str = "K") -> str:
    """The shortest way to write a number: 700K, 40.6G, 43150, 0.95, 1e-4. A tie goes to the plain digits.

    Raises ValueError for a fraction that no decimal number writes, such as 1/3.
    """
    value = Fraction(value)
    ways = [_decimal(value)]
    if value.denominator == 1:
        for suffix, factor in ((thousand, 10**3), ("M", 10**6), ("G", 10**9), ("T", 10**12)):
            if value >= factor or value <= -factor:
                ways.append(_decimal(value / factor) + suffix)
    elif -1 < value < 1:
        digits, places = _digits(value)
        power = places - len(str(abs(digits))) + 1
        ways.append(f"{_decimal(value * 10**power)}e-{power}")
    return min(ways, key=len)


def _digits(value: Fraction) -> tuple[int, int]:
    """`value` = digits / 10**places, with the fewest places."""
    places = 0
    while value.denominator != 1:
        value *= 10
        places += 1
        if places > 30:
            raise ValueError("this fraction has no decimal spelling")
    return int(value), places


def _decimal(value: Fraction) -> str:
    digits, places = _digits(value)
    sign = "-" if digits < 0 else ""
    text = str(abs(digits)).rjust(places + 1, "0")
    return sign + (f"{text[:-places]}.{text[-places:]}" if places else text)


def tidy(number: str) -> str:
    """A number as written, without the freedom there is in it: `050.0` is `50`, `1E-04` is `1e-4`; suffixes stay."""
    sign = "-" if number.startswith("-") else ""
    digits = number.removeprefix("-").lower() if "E" in number else number.removeprefix("-")
    digits, e, power = digits.partition("e")
    suffix = digits[-1] if digits[-1].isalpha() or digits[-1] == "%" else ""
    whole, _, places = digits.removesuffix(suffix).partition(".")
    out = sign + (whole.lstrip("0") or "0")
    if places.rstrip("0"):
        out += "." + places.rstrip("0")
    return out + suffix + (f"e{int(power)}" if e else "")


def quoted(text: str) -> str:
    """A text in quotes, double ones where possible; ValueError for one that no quotes can hold."""
    if "\n" in text or ('"' in text and "'" in text):
        raise ValueError("a quoted text holds one kind of quotes at most, and no line break")
    return f"'{text}'" if '"' in text else f'"{text}"'


def written(value: Value) -> str:
    """A value as a spec writes it."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case int() | Fraction():
            return spell(value)
        case str():
            plain = value.isidentifier() and value not in BARE
            return value if plain else quoted(value)
        case Percent(share=share):
            return f"{_decimal(share * 100)}%"
        case Size(sides=sides):
            return "x".join(map(str, sides))
        case NM(kept=kept, out_of=out_of):
            return f"{kept}:{out_of}"
        case Variable(name=name):
            return name
        case tuple():
            return f"[{', '.join(written(item) for item in value)}]"
