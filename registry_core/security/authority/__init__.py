"""The fleet's certificate authority: roots, intermediates, and certificates for services, by `cryptography`."""
