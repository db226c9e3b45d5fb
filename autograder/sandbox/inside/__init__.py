"""All of ``autograder`` that enters the sandbox. Nothing here is trusted."""
