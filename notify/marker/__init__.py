"""The Marker: writes outcomes back to the database in bulk."""

from notify.marker.marker import Marker

__all__ = ["Marker"]
