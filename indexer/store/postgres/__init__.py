"""The index on PostgreSQL servers with pgvector: one, or several that share the papers among them."""
