"""The measurements behind "Which map should I believe?": every method on the sample
photos and on cases whose answer is known.

`python -m chapter4.study` makes evidence.json, beside this file, and goes on where it was
cut off; `saved()` reads it.
"""

from __future__ import annotations

from chapter4.study.store import saved

__all__ = ["saved"]
