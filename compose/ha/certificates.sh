#!/bin/sh
# Make an authority, and certificates for nginx and the replicas, where there are none or they are old.
#
# usage: certificates.sh        with CA_PASSPHRASE in the environment, and REGISTRY_HOSTS for more names of nginx
#
# /authority has the authority with its encrypted root. It is here for trying out: a fleet keeps it on another machine.
# /certificates has what the others get: trust.crt for all, nginx/ and registry/ with a certificate and its key each.
# Certificates last 90 days. Started again after 60, it issues new ones: the replicas read them by themselves, nginx
# on `nginx -s reload`.
set -eu
umask 077
passphrase=/tmp/passphrase
printf %s "$CA_PASSPHRASE" >"$passphrase"
[ -f /authority/ca.json ] || vertice ca init --dir /authority --passphrase-file "$passphrase"

issue() { # FOLDER UID HOST...
    folder=/certificates/$1
    owner=$2
    shift 2
    [ -z "$(find "$folder/server.crt" -mtime -60 2>/dev/null)" ] || return 0
    mkdir -p "$folder"
    vertice ca issue "$@" --out "$folder/server" --dir /authority --passphrase-file "$passphrase"
    chown -R "$owner" "$folder"
}
# shellcheck disable=SC2086 # a list of words on purpose
issue nginx 33 nginx localhost 127.0.0.1 172.28.53.8 ${REGISTRY_HOSTS:-}
# nginx asks every replica by the one name `replicas`.
issue registry 10001 replicas registry-1 registry-2 registry-3 registry-4 registry-5 \
    172.28.53.51 172.28.53.52 172.28.53.53 172.28.53.54 172.28.53.55 --role replica
# With these the replicas issue certificates to services.
cp /authority/replicas/authority.crt /authority/replicas/authority.key /certificates/registry/
chown 10001 /certificates/registry/authority.crt /certificates/registry/authority.key
cp /authority/trust.crt /certificates/trust.crt
chmod 755 /certificates
chmod 644 /certificates/trust.crt
# The audit of each replica is for its user alone.
for disk in /audit/*; do
    [ "$(stat -c %u "$disk")" = 10001 ] || { chmod 700 "$disk" && chown 10001 "$disk"; }
done
