"""Cache and upload buffer: segments as files on local disks, and the cartridge made of them."""
