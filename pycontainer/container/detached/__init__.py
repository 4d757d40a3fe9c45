"""Containers that outlive their creator: each has a monitor of its own, a folder, and a row in the state."""
