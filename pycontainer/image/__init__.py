"""Images: content and configuration. Nothing here starts a process."""
