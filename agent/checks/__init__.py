"""The checks that say whether a service is well."""
