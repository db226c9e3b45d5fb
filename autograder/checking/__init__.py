"""The checks are run here, and a wrong answer's mistake is found."""
