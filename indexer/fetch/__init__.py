"""Papers, from the services that have them, to files."""
