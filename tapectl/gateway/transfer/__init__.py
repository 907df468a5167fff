"""The transfer engine: everything that happens between the local disks and the store."""
