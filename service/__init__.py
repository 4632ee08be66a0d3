"""Index in, answers out: search, ask, and the front ends over them."""
