"""Papers in, index out. The indexer never imports the service."""
