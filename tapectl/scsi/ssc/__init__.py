"""The tape drive (SSC-5)."""

from tapectl.scsi.ssc.drive import TapeDrive

__all__ = ["TapeDrive"]
