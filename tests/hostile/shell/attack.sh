# One attack by name, as in ../python/attacks, with the tools that a machine has. Ends with 0 if it got what it wanted, and with
# 64 if there is no such attack. What it wants is in variables t_*.
set -euo pipefail

# Fails unless what it is given has the text in it.
having() {
    local found
    found=$(tr '\0' ' ')
    case $found in *"$1"*) printf '%s\n' "$found" | head -c 400 ;; *) echo "it answered otherwise: ${found:0:80}" >&2; return 1 ;; esac
}

case $1 in
read_secret) cat "$t_secret" ;;
read_ledger) dd if="$t_data/ledger.sqlite" bs=15 count=1 status=none | having SQLite ;;
list_data) ls "$t_data" ;;
read_sibling_tree) cat "$t_sibling_tree/model.py" ;;
symlink_to_secret) ln -sf "$t_secret" "$TMPDIR/link" && cat "$TMPDIR/link" ;;
hard_link_to_secret) ln -f "$t_secret" "$TMPDIR/hard" && cat "$TMPDIR/hard" && rm "$TMPDIR/hard" ;;
victim_environ) having = < "/proc/$t_victim/environ" ;;
victim_cmdline) having victim < "/proc/$t_victim/cmdline" ;;
victim_root) cat "/proc/$t_victim/root$t_secret" ;;
list_processes) ls /proc | grep -x "$t_victim" ;;
shared_memory_file) cat "$t_shared_file" ;;
temporary_of_others) cat "$t_tmp_file" ;;
write_outside) echo hostile > "$t_outside/made" ;;
remove_outside) rm "$t_outside/removed" ;;
chmod_outside) chmod 777 "$t_outside/mode" ;;
utime_outside) touch -d @1 "$t_outside/time" ;;
own_tree_write)
    mode=$(stat -c %a serve.py)
    touch -r serve.py "$TMPDIR/times"
    chmod u+w serve.py
    size=$(stat -c %s serve.py)
    status=0
    echo >> serve.py || status=$?
    truncate -s "$size" serve.py || status=$?
    chmod "$mode" serve.py
    touch -r "$TMPDIR/times" serve.py
    exit $status ;;
signal_zero) kill -0 "$t_victim" ;;
signal_stop) kill -STOP "$t_victim" ;;
signal_kill) kill -KILL "$t_victim" ;;
sibling_socket)
    body='{"inputs":[{"name":"name","datatype":"BYTES","shape":[1],"data":["SIBLING_SECRET"]}]}'
    curl -sS -m 3 --unix-socket "$t_sibling_socket" -H 'Content-Type: application/json' -d "$body" \
        "http://local/v2/models/$t_sibling/infer" | having '"outputs"' ;;
path_socket) curl -sS -m 3 --http0.9 --unix-socket "$t_path_socket" http://local/ ;;
tcp) exec 3<> "/dev/tcp/127.0.0.1/$t_tcp" && timeout 3 cat <&3 ;;
tcp_api) curl -sS -m 3 -o /dev/null -w 'status %{http_code}' "http://127.0.0.1:$t_api/healthz" | having 'status 200' ;;
udp) exec 3<> "/dev/udp/127.0.0.1/$t_udp" && echo x >&3 && timeout 3 dd bs=4096 count=1 status=none <&3 ;;
system_v_list) ipcs -m -i "$t_segment" | having "shmid=$t_segment" ;;
new_user_namespace) unshare --user true ;;
mount) mkdir -p "$TMPDIR/m" && unshare --mount mount -t tmpfs none "$TMPDIR/m" ;;
namespace_of_victim) nsenter --target "$t_victim" --uts true ;;
switch_user) su -s /bin/sh -c 'id -u' root < /dev/null | having 0 ;;
core_pattern) value=$(cat /proc/sys/kernel/core_pattern) && echo "$value" > /proc/sys/kernel/core_pattern ;;
make_device) mknod "$TMPDIR/disk" b $((t_device >> 8)) $((t_device & 255)) && dd if="$TMPDIR/disk" bs=512 count=1 status=none | wc -c; rm "$TMPDIR/disk" ;;
own_capabilities) grep CapEff /proc/self/status | grep -v $'\t0*$' ;;
new_privileges) grep NoNewPrivs /proc/self/status | grep 0 ;;
*) exit 64 ;;
esac
