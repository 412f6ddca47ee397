#!/usr/bin/env bash
# Base images for a site that reaches no image registry, from Debian's own packages: debootstrap, then `docker import`. Run as root on Debian.
#
#   docker/offline-base.sh            # portrait-offline/{python:3.11,build:3.11,postgres:15,redis:7,prometheus:2}
#
# Packages come from the mirror that this machine's apt is configured for. Only the image `build`, whose stages are thrown away, also takes
# this machine's certificates and pip configuration; the others keep neither these nor the mirror's address.
set -euo pipefail
work=$(mktemp -d)
trap 'umount -q "$work"/*/proc || true; rm -rf --one-file-system "$work"' EXIT
mirror=$(find /etc/apt -name sources.list -o -name '*.sources' -o -name '*.list' | xargs sed -nE \
    's/^(URIs: *|deb (\[[^]]*\] )?)(https?:[^ ]+).*/\3/p' | grep -v security | head -1)
debootstrap --variant=minbase --include=ca-certificates bookworm "$work/debian" "$mirror" >"$work/log" || { tail "$work/log" >&2; exit 1; }

# image NAME PATH FINISH PACKAGE... : Debian with these packages and PATH, after the shell commands FINISH, without caches and documentation
image() {
    local name=portrait-offline/$1 path=$2 finish=$3 root=$work/image
    shift 3
    if docker image inspect "$name" >/dev/null 2>&1; then
        echo "$name is there; docker rmi $name to have it made anew"
        return
    fi
    cp -a "$work/debian" "$root"
    rm "$root/etc/apt/sources.list"
    cp -rL /etc/apt/*.list /etc/apt/sources.list.d /etc/apt/apt.conf.d /etc/apt/auth.conf.d /etc/apt/trusted.gpg.d "$root/etc/apt/" 2>/dev/null || true
    cp -L /etc/resolv.conf "$root/etc/"
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/machine.crt"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # no package starts a service in here
    chmod +x "$root/usr/sbin/policy-rc.d"
    mount -t proc proc "$root/proc"
    chroot "$root" env DEBIAN_FRONTEND=noninteractive sh -ec "
        apt-get -o Acquire::https::CAInfo=/etc/machine.crt update -qq
        apt-get -o Acquire::https::CAInfo=/etc/machine.crt install -qq -y --no-install-recommends $* >/dev/null
        $finish"
    umount "$root/proc"
    rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/log/* "$root"/usr/share/{doc,man,info,locale}/* \
        "$root"/usr/sbin/policy-rc.d "$root"/etc/apt/*.list "$root"/etc/apt/{sources.list.d,apt.conf.d,auth.conf.d}/* \
        "$root"/etc/{machine.crt,resolv.conf}
    if [ "$name" = portrait-offline/build:3.11 ]; then
        cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
        cp /etc/pip.conf "$root/etc/" 2>/dev/null || true
    fi
    tar -C "$root" --numeric-owner -c . | docker import --change "ENV PATH=$path" --change "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" \
        --change "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt" - "$name" >/dev/null
    rm -rf --one-file-system "$root"
    docker images "$name" --format '{{.Repository}}:{{.Tag}} {{.Size}}'
}

path=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin
image build:3.11 "$path" true python3 python3-venv
image python:3.11 "$path" true python3
image postgres:15 "/usr/lib/postgresql/15/bin:$path" "install -d -o postgres -g postgres /var/lib/postgresql/data" postgresql-15
image redis:7 "$path" "install -d -o redis -g redis /data" redis-server
image prometheus:2 "$path" "install -d -o nobody -g nogroup /prometheus" prometheus
