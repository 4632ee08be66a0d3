"""PostgreSQL servers for tests, and the tests that want them."""
