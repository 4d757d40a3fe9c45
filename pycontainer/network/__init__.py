"""Networks of containers: links, addresses, rules, names, and what is kept of them below an engine's root.

The host's side of every network is in the network namespace of the calling thread; nothing here enters another.
"""
