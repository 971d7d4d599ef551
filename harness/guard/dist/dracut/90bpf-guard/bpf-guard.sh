#!/bin/sh
# Puts the policy in force. It stays in force when the root is switched: no path names its pins any more.

# With `on_failure = "warn"` this succeeds although nothing is in force, and says so.
if ! /usr/sbin/bpf-guard early --policy /etc/bpf-guard/policy.toml --bpffs /guard; then
    for place in /dev/console /dev/kmsg; do
        echo "bpf-guard: no guard is in force, and its policy does not say to go on: the machine is switched off" >"$place"
    done
    sleep 10
    poweroff -f || halt -f
    # Neither worked; do not go on.
    while :; do sleep 3600; done
fi
