"""Who may do what: identities, rights, certificates."""
