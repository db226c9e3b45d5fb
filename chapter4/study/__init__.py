"""The measurements behind the page "Which map should I believe?".

They cover every method on the sample photos, and on cases whose answer is known.
``python -m chapter4.study`` makes evidence.json beside this file. A run that was cut
off goes on where it stopped. ``saved()`` reads the file.
"""

from __future__ import annotations

from chapter4.study.store import saved

__all__ = ["saved"]
