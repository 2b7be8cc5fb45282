"""The scheduling core: what may start, what waits, what is done, and in which order it leaves.

Pure: no clock, threads, asyncio, pluggy, polars or logging. It is driven by events and times passed in, calls
nothing it is given, and is not thread-safe; whoever drives it brings the lock and the clock.
"""
