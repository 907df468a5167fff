"""`tapectl check`: what the state says held against disks, store and host; and putting it right."""
