# What is done here, on the machine with gcloud; settings are above.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat >&2 <<END
usage: ${BASH_SOURCE[0]} STEP

  all       everything: from asking for the slice to its logs here; it deletes the slice
            in the end (KEEP), and asks anew for one that was preempted. Ended here, it
            goes on where it stands when it is called again.
  create    asks for the slice
  wait      until it is there
  copy      files and packages to every host
  install   Python, the packages, the bucket's mount
  start     the command on every host; it goes on when this terminal is closed
  status    of each host
  watch     until every host has ended; the status is the job's
  logs [N]  follows host N's log (0)
  fetch     the hosts' logs to this folder
  stop      SIGTERM: the command saves and ends, and is not started again
  delete    the slice, with all that is on its hosts' own disks
END
  exit 2
}

say() { printf '%s %s\n' "$(date +%H:%M:%S)" "$*" >&2; }

queued() {
  gcloud compute tpus queued-resources "$@" --project="$PROJECT" --zone="$ZONE"
}

# COMMAND [HOST]: in a shell of one host, or of all.
on_hosts() {
  gcloud compute tpus tpu-vm ssh "$NAME" --project="$PROJECT" --zone="$ZONE" \
    --worker="${2:-all}" --command="$1" ${SSH_FLAGS[@]+"${SSH_FLAGS[@]}"}
}

# FROM TO HOST
transfer() {
  gcloud compute tpus tpu-vm scp "$1" "$2" --project="$PROJECT" --zone="$ZONE" \
    --worker="$3" ${SSH_FLAGS[@]+"${SSH_FLAGS[@]}"}
}

# UNKNOWN where there is none, or no answer.
state() {
  queued describe "$NAME" --format='value(state.state)' 2>/dev/null || echo UNKNOWN
}

is_lost() { [[ $1 == SUSPENDING || $1 == SUSPENDED || $1 == FAILED ]]; }

create() {
  local now
  now=$(state)
  if is_lost "$now"; then
    delete # such a request never comes to life again
  elif [[ $now != UNKNOWN ]]; then
    say "$NAME was asked for already: $now"
    return
  fi
  queued create "$NAME" --node-id="$NAME" --runtime-version="$RUNTIME_VERSION" \
    "${SLICE_FLAGS[@]}"
}

wait_for_slice() {
  local now before='' unknown=0
  while :; do
    now=$(state)
    [[ $now == "$before" ]] || say "$NAME: $now"
    before=$now
    if [[ $now == ACTIVE ]]; then return; fi
    if [[ $now == UNKNOWN ]]; then unknown=$((unknown + 1)); else unknown=0; fi
    if is_lost "$now" || ((unknown > 10)); then
      queued describe "$NAME" >&2 || true
      say "there is no slice: see what is written above (quota? zone? a Spot slice that is gone?)"
      exit 1
    fi
    sleep "$POLL_SECONDS"
  done
}

copy() {
  local upload=$here/upload n source name
  rm -rf "$upload"
  mkdir -p "$upload/packages" "$upload/work"
  cp "$here/host.sh" "$upload"
  if [[ -d $here/work ]]; then cp -R "$here/work"/. "$upload/work"; fi
  for ((n = 0; n < ${#LOCAL_PACKAGES[@]}; n++)); do
    source=${LOCAL_PACKAGES[n]}
    name=$n-$(basename "$source")
    if [[ -d $source ]]; then
      mkdir "$upload/packages/$name"
      tar -cf - -C "$source" --exclude=.git --exclude=.venv --exclude=.cache --exclude=launched \
        --exclude=__pycache__ . | tar -xf - -C "$upload/packages/$name"
    else
      mkdir "$upload/packages/$n"
      cp "$source" "$upload/packages/$n"
    fi
  done
  tar -czf "$here/upload.tar.gz" -C "$upload" .
  rm -rf "$upload"
  transfer "$here/upload.tar.gz" "$NAME:$NAME.tar.gz" all
  on_hosts "mkdir -p $NAME && tar -xzf $NAME.tar.gz -C $NAME"
}

on_host() { on_hosts "bash $NAME/host.sh $1"; }

# Sets `outcome`: the job's status, or `lost` where the slice is gone.
watch_hosts() {
  local lines told=''
  while :; do
    if is_lost "$(state)"; then
      outcome=lost
      return
    fi
    # gcloud tells at each call how it connects.
    lines=$(on_host status 2>/dev/null) || lines=''
    if [[ -z $lines ]]; then say "the hosts do not answer"; fi
    if [[ $(grep -c '^ended ' <<<"$lines") -eq $HOSTS ]]; then
      outcome=$(of_all "$lines")
      return
    fi
    # Once: a second SIGTERM would not let them save.
    if [[ -z $told ]] && grep -q '^ended [1-9]' <<<"$lines"; then
      told=yes
      say "a host has ended for good: the others are told to"
      printf '%s\n' "$lines" >&2
      on_host stop || true
    fi
    sleep "$POLL_SECONDS"
  done
}

# One status of many: the first that some host has of FINAL, of all others, of RETRIED; 0.
of_all() {
  local code others
  others=$(sed -n 's/^ended \([1-9][0-9]*\) .*/\1/p' <<<"$1" |
    grep -vxF "$(tr ' ' '\n' <<<"$FINAL $RETRIED")" || true)
  for code in $FINAL $others $RETRIED; do
    if grep -q "^ended $code " <<<"$1"; then
      echo "$code"
      return
    fi
  done
  echo 0
}

fetch() {
  local n
  for ((n = 0; n < HOSTS; n++)); do
    transfer "$NAME:$NAME/log.txt" "$here/log-$n.txt" "$n" || say "no log of host $n"
  done
}

delete() { queued delete "$NAME" --force --quiet; }

all() {
  local lost=0
  while :; do
    create
    wait_for_slice
    # A process of its own, which stops at the first step that fails.
    if bash "${BASH_SOURCE[0]}" set_up; then
      say "it runs; its log: bash ${BASH_SOURCE[0]} logs"
      watch_hosts
    elif is_lost "$(state)"; then
      outcome=lost
    else
      say "the slice is there and costs: call again with 'all' or 'delete'"
      exit 1
    fi
    if [[ $outcome != lost ]]; then break; fi
    lost=$((lost + 1))
    say "the slice is gone (preempted $lost of at most $RETRIES times)"
    if ((lost > RETRIES)); then
      delete
      exit "$PREEMPTED"
    fi
  done
  fetch
  if ((KEEP)); then
    say "the slice is kept, and costs: bash ${BASH_SOURCE[0]} delete"
  else
    delete
  fi
  say "ended with $outcome; logs: $here/log-*.txt"
  exit "$outcome"
}

if ! command -v gcloud >/dev/null; then
  say "gcloud is not installed here: install Google Cloud's CLI, or run this file where it is"
  exit 2
fi
outcome=
case "${1:-}" in
  all | create | copy | fetch | delete) "$1" ;;
  wait) wait_for_slice ;;
  install | start | status | stop) on_host "$1" ;;
  set_up)
    copy
    on_host install
    on_host start
    ;;
  watch)
    watch_hosts
    if [[ $outcome == lost ]]; then exit "$PREEMPTED"; fi
    exit "$outcome"
    ;;
  logs) on_hosts "tail -n 200 -F $NAME/log.txt" "${2:-0}" ;;
  *) usage ;;
esac
