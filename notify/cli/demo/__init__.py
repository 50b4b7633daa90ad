"""The demo: a flash sale over the embedded Notify."""
