"""loccit beside other retrieval libraries: the same papers, questions, embedding model and metrics, in one run.

    make peers                                         # an environment of its own, .venv-peers
    .venv-peers/bin/python -m benchmarks.peers         # every peer that has no saved rankings yet, then the table
    .venv-peers/bin/python -m benchmarks.peers --only loccit --index DIR    # one again, the others' rankings as saved

What was found is in docs/peers.md.
"""
