"""Write the points that a person gave for the answers in words into the gradebook."""

from nbgrader.api import Gradebook

points = {"ada": 10, "ben": 2, "chloe": 10, "dan": 6, "eve": 9, "finn": 10}

with Gradebook("sqlite:///gradebook.db") as book:
    for student, given in points.items():
        grade = book.find_grade("own-words", "problem1", "problem1", student)
        grade.manual_score = given
        grade.needs_manual_grade = False
    book.db.commit()
