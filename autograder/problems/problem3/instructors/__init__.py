"""Problem 3, for instructors only: this folder never enters the students' bundle."""
