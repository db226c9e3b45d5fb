"""One file of checks per problem."""
