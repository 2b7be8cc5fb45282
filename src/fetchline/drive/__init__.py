"""Thin loops that bring a schedule together with clocks, threads, event loops, pipes and futures."""
