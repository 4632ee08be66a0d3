"""The index in a folder: SQLite holds the truth, a FAISS file beside it is a cache of the vectors."""
