"""The program of an executor's containers: the texts ``job`` and ``zygote``, one after the other.

Executed by an image's own Python, 3.7 or later, and imported by nobody: only the standard library, and nothing of
this package.
"""
