"""What runs where the attempts run: a thread, a child process, a loop, a cluster worker.

A worker receives a ``Program`` once and then items; nothing of pluggy crosses.
"""
