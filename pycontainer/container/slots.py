"""The slots that a container's plan uses, and the tags of the fds that it sends back."""

from __future__ import annotations

#: Slots that the caller fills before the start: the socket for fds that are sent back, the user namespace, the network
#: namespace.
EXPORT, USERNS, NETNS = range(3)
#: Slots that the operations fill.
SCRATCH, ROOT, DEV, TARGET, TEMPORARY, NULL, EMPTY, UPPER, MASTER, TERMINAL, RULESET = range(3, 14)
FIRST_SOURCE = 14

#: Tags of the fds that the container's first process sends back.
SENT_UPPER, SENT_ROOT, SENT_MASTER, SENT_MOUNTS = range(4)
