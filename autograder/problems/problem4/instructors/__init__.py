"""Problem 4, for instructors only: this folder never enters the students' bundle."""
