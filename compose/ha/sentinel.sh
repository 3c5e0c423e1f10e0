#!/bin/sh
# Start a Sentinel that watches the masters a, b and c.
#
# usage: sentinel.sh ADDRESS A B C        with REDIS_PASSWORD in the environment
#
# What it has learnt (who is master, who the other Sentinels are) is kept in its volume over restarts.
set -eu
umask 077
address=$1
if [ ! -f /data/sentinel.conf ]; then
    cat >/data/sentinel.conf.new <<CONF
port 26379
protected-mode no
dir /data
sentinel announce-ip $address
requirepass $REDIS_PASSWORD
sentinel sentinel-pass $REDIS_PASSWORD
CONF
    shift
    for name in a b c; do
        cat >>/data/sentinel.conf.new <<CONF
sentinel monitor $name $1 6379 2
sentinel auth-pass $name $REDIS_PASSWORD
sentinel down-after-milliseconds $name 500
sentinel failover-timeout $name 5000
sentinel parallel-syncs $name 1
CONF
        shift
    done
    mv /data/sentinel.conf.new /data/sentinel.conf
fi
exec redis-sentinel /data/sentinel.conf
