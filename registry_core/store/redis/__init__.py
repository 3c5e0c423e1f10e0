"""The store that outlives a replica: Redis masters, each watched by Sentinels. Nothing else imports redis."""
