"""The only door to student code: a process that may lie, hang or die."""
