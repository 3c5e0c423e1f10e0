"""The DNS server and forwarder. Not dnspython, whose import name this package shares."""
