"""`make benchmark`: this package's methods against the printed chapter and other libraries."""
