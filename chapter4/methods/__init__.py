"""Sections 4.1 to 4.3: one file for each family of attribution methods."""
