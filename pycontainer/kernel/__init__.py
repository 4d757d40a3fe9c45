"""One object for each kernel resource: processes, namespaces, mounts, cgroups, capabilities, filters.

Nothing here knows of images or containers.
"""
