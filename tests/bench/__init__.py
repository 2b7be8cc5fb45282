"""The benchmark: fetchline beside its peers, in one run, round by round.

Run it from the repository root with ``python -m tests.bench``; ``--help`` lists the options.
"""
