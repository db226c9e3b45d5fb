"""Problem 6, for instructors only: this folder never enters the students' bundle."""
