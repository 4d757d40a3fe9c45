"""What outlives a process: detached containers, their configuration, how they are, and what happened to them.

Below the engine root::

    <root>/containers/          0700
        containers.db           a row for each container: identity and configuration (records.py)
        events, events.1        a line for each thing that happened (events.py)
        <id>/                   the container's folder, 0700 (places.py)

A container is there when it has both a row and a folder.  How it is, its folder tells: the files that its monitor
writes, and whether there is a monitor (runs.py).
"""
