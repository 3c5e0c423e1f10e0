# HAProxy as Debian has it, for engines that cannot have the public image.
FROM docker.io/library/python:3.13-slim
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends haproxy
