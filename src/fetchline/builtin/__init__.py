"""The backends that come with fetchline, each registered through the public hooks like a stranger's."""
