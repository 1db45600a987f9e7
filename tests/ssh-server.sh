#!/bin/sh
# SPDX-License-Identifier: MIT
#
# ssh-server.sh start DIR | stop DIR: an sshd of our own on 127.0.0.1, on a free port, with throw-away
# keys; all that belongs to it is in DIR. `start` prints the words of a command that logs in there. It
# leaves the machine's own ssh alone, and works for any user.
set -eu

command=$1 dir=$2

stop()
{
    [ -s "$dir/pid" ] || return 0
    pid=$(cat "$dir/pid")
    kill "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.01
    done
}

# Whether the server answers on that port, and not another one's.
answers()
{
    ssh -F none -i "$dir/key" -p "$1" -o StrictHostKeyChecking=yes \
        -o UserKnownHostsFile="$dir/known_hosts" -o BatchMode=yes 127.0.0.1 true \
        2>>"$dir/client.log"
}

# Tries a port: a server that cannot have it ends.
start_on()
{
    port=$1
    printf '[127.0.0.1]:%s %s\n' "$port" "$(cut -d' ' -f1,2 "$dir/host_key.pub")" \
        >"$dir/known_hosts"
    rm -f "$dir/pid"
    "$sshd" -f "$dir/config" -p "$port" -E "$dir/server.log" || return 1
    # The pid is written after the port was bound.
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        [ -s "$dir/pid" ] && answers "$port" && return 0
        sleep 0.1
    done
    stop
    return 1
}

start()
{
    sshd=$(PATH=$PATH:/usr/sbin:/usr/local/sbin:/sbin command -v sshd)
    [ -d /run/sshd ] || [ "$(id -u)" != 0 ] || mkdir -m 755 /run/sshd
    ssh-keygen -q -t ed25519 -N '' -C '' -f "$dir/host_key"
    ssh-keygen -q -t ed25519 -N '' -C '' -f "$dir/key"
    cp "$dir/key.pub" "$dir/authorized_keys"
    cat >"$dir/config" <<END
ListenAddress 127.0.0.1
HostKey $dir/host_key
AuthorizedKeysFile $dir/authorized_keys
PidFile $dir/pid
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
PrintMotd no
LogLevel VERBOSE
END
    for try in 1 2 3 4 5 6 7 8 9 10; do
        port=$((20000 + ($$ * 7 + try * 611) % 10000))
        if start_on "$port"; then
            echo "ssh -F none -i $dir/key -p $port -o StrictHostKeyChecking=no" \
                "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o BatchMode=yes 127.0.0.1"
            return
        fi
    done
    cat "$dir/server.log" "$dir/client.log" >&2
    return 1
}

"$command"
