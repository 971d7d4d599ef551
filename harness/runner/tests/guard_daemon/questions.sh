# Each answer is a file of the shared folder, with the exit code of what was asked at its end.
cd /mnt/vmtest
folder=/var/log/bpf-guard

ask() {
    answer=$1
    shift
    "$@" >"$answer" 2>&1
    echo "ended with $?" >>"$answer"
}

# Checks all files of the log, oldest first, with the anchors of the kernel's log, as the help says. Those of an earlier log
# are passed over.
earlier=0
anchors() {
    journalctl -k -t bpf-guard | grep anchor | tail -n +$((earlier + 1)) >anchors
}

verify() {
    answer=$1
    shift
    anchors
    files=$(ls $folder/log.jsonl.[0-9]* 2>/dev/null | sort -t . -k 3 -n)
    ask "$answer" bpf-guard verify "$@" --anchor anchors $files $folder/log.jsonl
}

# systemd loads a BPF program for this, as process 1.
call() {
    systemd-run --wait --quiet -p DevicePolicy=closed true
}

# Waits for a command to succeed.
await() {
    for try in $(seq 60); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.5
    done
    return 1
}

has_trouble() {
    bpf-guard status | grep -q 'cannot write'
}

# Whether another process than this one is the daemon, and its numbers add up.
is_other() {
    now=$(systemctl show -P MainPID bpf-guard)
    [ "$now" != 0 ] && [ "$now" != "$1" ] && bpf-guard status
}

# Leaves no room on the disk of the log.
fill() {
    cat /dev/zero >>$folder/filler 2>/dev/null
    call
    call
    await has_trouble
}

ask boot systemctl is-active bpf-guard
systemctl show -P ActiveEnterTimestampMonotonic bpf-guard sysinit.target | grep . >order
systemctl list-units --failed --no-legend --plain >failed
call
await bpf-guard status
ask status bpf-guard status
verify running --running
ask other bpf-guard run --log /tmp/second.jsonl
ls /tmp/second.jsonl* >other-log 2>&1

# What is called while nobody reads waits in the rings.
ask stop systemctl stop bpf-guard
ask stopped-status bpf-guard status
verify stopped
call
ask start systemctl start bpf-guard
ask restart systemctl restart bpf-guard
verify restarted --running
before=$(systemctl show -P MainPID bpf-guard)
ask kill systemctl kill --signal=KILL bpf-guard
await is_other "$before"
call
systemctl stop bpf-guard
verify killed
mkdir restarts && cp $folder/log* anchors restarts

earlier=$(journalctl -k -t bpf-guard | grep -c anchor)
mount -t tmpfs -o size=48k,mode=0700 small $folder
systemctl start bpf-guard
await bpf-guard status
fill
ask full-status bpf-guard status
verify full --running
tail -c 2 $folder/log.jsonl >full-end
mount -o remount,size=1M $folder
await bpf-guard status
verify room --running

# With a full disk it cannot begin, and begins as soon as there is room.
mount -o remount,size=$(du -k $folder | cut -f 1)k $folder
fill
ask full-stop systemctl stop bpf-guard
ask full-start systemctl start bpf-guard
sleep 5
systemctl show -P ActiveState bpf-guard >full-state
mount -o remount,size=1M $folder
await bpf-guard status
call
ask end systemctl stop bpf-guard
verify ended
mkdir full-disk && cp $folder/log* anchors full-disk
journalctl -b --no-pager -t bpf-guard >said
