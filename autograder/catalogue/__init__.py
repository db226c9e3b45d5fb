"""Known mistakes and right answers, as runnable code: per problem a table here, its code in problemN_code.py."""
