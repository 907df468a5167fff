"""The target's side of iSCSI (RFC 7143) as pure objects: bytes in, events and bytes out.

`connection.TargetConnection` is the whole of it for a server; `pdu` and
`chap` also encode what an initiator sends. No socket, clock, thread or random
number generator is used here; what must be random comes from the policy.
"""
