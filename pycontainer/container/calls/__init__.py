"""Functions called in a container: what they are sent as, what comes back, and who runs them there."""
