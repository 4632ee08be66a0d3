"""What takes minutes: `make torture`. A short form of each stands in the tests beside."""
