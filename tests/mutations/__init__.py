"""The code broken on purpose: each patch names the tests that must notice it."""
