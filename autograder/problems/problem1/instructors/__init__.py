"""Problem 1, for instructors only: this folder never enters the students' bundle."""
