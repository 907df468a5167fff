"""The media changer (SMC-3)."""

from tapectl.scsi.smc.changer import MediaChanger

__all__ = ["MediaChanger"]
