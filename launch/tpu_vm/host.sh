# What each host of the slice does; settings are above.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here"

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*"; }

install() {
  PATH=$HOME/.local/bin:$PATH
  # Newer systems call their own Python the system's, and want to be asked twice.
  command -v uv >/dev/null || python3 -m pip install --user --quiet uv ||
    python3 -m pip install --user --quiet --break-system-packages uv
  uv venv --quiet --allow-existing --python "$PYTHON" venv
  uv pip install --quiet --python venv/bin/python "${PACKAGES[@]}"
  mount_bucket
}

mount_bucket() {
  if [[ -z $MOUNT ]] || mountpoint --quiet "$MOUNT"; then return; fi
  if [[ -z $BUCKET ]]; then
    say "$MOUNT is no mounted disk on $(hostname): set BUCKET, or mount it by a startup script"
    exit 2
  fi
  command -v gcsfuse >/dev/null || install_gcsfuse
  sudo mkdir -p "$MOUNT"
  sudo chown "$(id -u):$(id -g)" "$MOUNT"
  gcsfuse "${GCSFUSE_OPTIONS[@]}" "$BUCKET" "$MOUNT"
}

# From Google's own packages for Debian and Ubuntu.
install_gcsfuse() {
  local site=https://packages.cloud.google.com/apt key=/usr/share/keyrings/cloud.google.asc
  curl --fail --silent "$site/doc/apt-key.gpg" | sudo tee "$key" >/dev/null
  echo "deb [signed-by=$key] $site gcsfuse-$(lsb_release -cs) main" |
    sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
  sudo apt-get update --quiet=2
  sudo apt-get install --yes --quiet=2 gcsfuse
}

is_running() {
  [[ -f pid ]] && grep --quiet host.sh "/proc/$(cat pid)/cmdline" 2>/dev/null
}

start() {
  if is_running; then
    say "$(hostname) runs already"
    return
  fi
  mount_bucket
  rm -f ended stopped
  setsid nohup bash "$here/host.sh" run >>log.txt 2>&1 </dev/null &
  echo $! >pid
}

# libtpu keeps this file where a process was killed; the next one then finds no TPU.
remove_stale_lock() {
  local lock=/tmp/libtpu_lockfile
  if [[ -e $lock ]] && command -v fuser >/dev/null && ! sudo fuser -s "$lock"; then
    say "removing $lock, which no process holds"
    sudo rm -f "$lock"
  fi
}

run() {
  local status attempt=0 child=''
  # shellcheck disable=SC1091
  source venv/bin/activate
  mkdir -p work
  trap 'touch "$here/stopped"; kill -TERM "${child:-none}" 2>/dev/null || true' TERM
  while :; do
    remove_stale_lock
    status=$PREEMPTED
    if [[ -e stopped ]]; then break; fi
    (cd work && exec "${COMMAND[@]}") &
    child=$!
    # A trapped signal ends `wait`, not the command.
    while :; do
      status=0
      wait "$child" || status=$?
      kill -0 "$child" 2>/dev/null || break
    done
    say "$(hostname): the command ended with $status"
    if [[ " $RETRIED " != *" $status "* || -e stopped ]] || ((attempt >= RETRIES)); then
      break
    fi
    attempt=$((attempt + 1))
    say "attempt $((attempt + 1)) of at most $((RETRIES + 1))"
    sleep "$PAUSE_SECONDS"
  done
  echo "$status" >ended
}

status() {
  if [[ -f ended ]]; then
    echo "ended $(cat ended) $(hostname)"
  elif is_running; then
    echo "running $(hostname)"
  elif [[ -f pid ]]; then
    echo "ended 137 $(hostname): it was killed, or the machine was started anew"
  else
    echo "not started $(hostname)"
  fi
}

stop() {
  touch stopped
  if is_running; then kill -TERM "$(cat pid)"; fi
}

case "${1:-}" in
  install | start | run | status | stop) "$1" ;;
  *)
    say "usage: ${BASH_SOURCE[0]} install|start|run|status|stop"
    exit 2
    ;;
esac
