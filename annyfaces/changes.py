"""Local shape changes an identity may have and how strong (standard deviation, 1 is the target's full offset)."""

from __future__ import annotations

_SMALL, _MIDDLE, _LARGE = 0.12, 0.22, 0.33
_STRENGTH = {
    "eye-scale": _SMALL,
    "head-age": _SMALL,
    "head-scale-vert": _SMALL,
    "head-scale-horiz": _SMALL,
    "head-fat": _MIDDLE,
    "chin-cleft": _SMALL,
    "ear-wing": _SMALL,
    "ear-flap": _SMALL,
    "ear-scale": _SMALL,
    "ear-trans": _SMALL,
    "eye-trans": _SMALL,
    "eye-push": _SMALL,
    "eye-bag": _MIDDLE,
    "eye-epicanthus": _SMALL,
    "neck": _SMALL,
    "forehead": _SMALL,
    "mouth-scale-vert": _SMALL,
    "mouth-trans-up": _SMALL,
    "chin-prognathism": _SMALL,
    "nose-trans-up": _SMALL,
    "nose-compression": _SMALL,
    "nose": _LARGE,
    "mouth": _MIDDLE,
    "cheek": _LARGE,
    "chin": _MIDDLE,
}


def _strength(name: str) -> float:
    for prefix, value in _STRENGTH.items():
        if name.startswith(prefix):
            return value
    return _MIDDLE


def _amplitudes() -> dict[str, float]:
    from annyfaces.extract import LOCAL

    return {name: _strength(name) for name in LOCAL}


AMPLITUDES: dict[str, float] = _amplitudes()
