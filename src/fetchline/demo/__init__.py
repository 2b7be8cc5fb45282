"""The offline demonstration: a web service of real prices, and the program that fetches them all.

``example`` is the code a user would write, ``program`` runs and explains it. ``server`` is the web service in
its own process, ``service`` its manners and ``prices`` its data. ``example_stdlib`` and ``session`` stand in
where the httpx plugin is not installed.
"""
