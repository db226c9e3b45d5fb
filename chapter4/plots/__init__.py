"""Figures: results become pictures here, and maps are scaled only here."""
