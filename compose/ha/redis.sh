#!/bin/sh
# Start a Redis of the registry: a master, or a replica of MASTER, until the Sentinels decide otherwise.
#
# usage: redis.sh ADDRESS [MASTER]        with REDIS_PASSWORD in the environment
#
# Whom it follows is kept in its volume over restarts, so that a master that was replaced while it was away does not
# come back as a second one. Everything else is written anew at each start.
set -eu
umask 077
address=$1
follows=${2:+replicaof $2 6379}
if [ -f /data/redis.conf ]; then
    follows=$(grep '^replicaof ' /data/redis.conf || true)
    if [ -z "$follows" ]; then
        # It was the master. Back before the Sentinels have missed it, it would lead on with what it has on its disk, and
        # take its replicas back to that; a container is started again after 0.1 s.
        trap 'exit 143' INT TERM
        sleep 5 &
        wait $!
        trap - INT TERM
    fi
fi
cat /etc/vertice/redis.conf - >/data/redis.conf.new <<CONF
requirepass $REDIS_PASSWORD
masterauth $REDIS_PASSWORD
replica-announce-ip $address
$follows
CONF
mv /data/redis.conf.new /data/redis.conf
exec redis-server /data/redis.conf
