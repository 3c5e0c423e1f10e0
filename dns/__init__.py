"""The DNS face: ours, and not dnspython, whose import name it shares."""
