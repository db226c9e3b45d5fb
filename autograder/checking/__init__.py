"""Runs the checks, and finds the mistake behind a wrong answer."""
