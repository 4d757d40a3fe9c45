"""The slots that a container's plan uses, and the tags of the fds that it sends back."""

from __future__ import annotations

#: Slots that the caller fills before the start: the socket for fds that are sent back, the user namespace.
EXPORT, USERNS = range(2)
#: Slots that the operations fill.
SCRATCH, ROOT, DEV, TARGET, TEMPORARY, NULL, EMPTY, UPPER, MASTER, TERMINAL, RULESET = range(2, 13)
FIRST_SOURCE = 13

#: Tags of the fds that the container's first process sends back.
SENT_UPPER, SENT_ROOT, SENT_MASTER, SENT_MOUNTS = range(4)
