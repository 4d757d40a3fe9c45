"""Images: content and configuration. Nothing here starts a process, but for the user's own credential helpers."""
