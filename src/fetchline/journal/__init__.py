"""Durable runs: what a run was asked, what came of it, and where its values are, on a disk or in a bucket."""
