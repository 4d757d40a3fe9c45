"""Containers: from what a user asks for, through a pure plan, to a running process and its result."""
