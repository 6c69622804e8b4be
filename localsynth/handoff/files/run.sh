#!/usr/bin/env bash
# bash run.sh         every shard of this job, one after the other
# bash run.sh I       shard I only; several machines, or several GPUs, take one each
# BACKEND=... bash run.sh --install   only install and fetch the model, where there is a network but perhaps no GPU
#
# Installs into .venv beside this file, fetches the model, and runs. SIGTERM (a preemption) or Ctrl-C finishes what is
# in flight and stops; the same command goes on from there. Exit code 0: finished; 6: there is more to do.
#
# BACKEND=vllm|llamacpp|mlx|openai|ollama   what runs the model  [vllm where there is an NVIDIA GPU]
# MODEL=...           the model's folder, file or name here  [the one that was packed]
# SERVER=URL          for openai and ollama: the server to generate on
# TOKENIZER=...       the folder or file with a served model's chat template, where the server does not tell it
# SLOTS=N             requests at the same time
# PYTHON=...          the interpreter to make .venv with  [python3]
# VENV=...            where to install  [.venv beside this file]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
shards=@SHARDS@
wheel=@WHEEL@
backend=${BACKEND:-@BACKEND@}
venv=${VENV:-$here/.venv}
export LOCALSYNTH_HOME="${LOCALSYNTH_HOME:-$here/home}"

if [ "$backend" = auto ] && command -v nvidia-smi >/dev/null 2>&1; then
  backend=vllm
fi

install() {
  local python=${PYTHON:-python3} extras=@EXTRAS@ mark="$venv/installed-$backend-@DIGEST@"
  [ -e "$mark" ] && return
  # Tasks of one array share the folder: the first one installs, the others wait.
  if command -v flock >/dev/null 2>&1; then
    exec 9>"$here/.installing"
    flock 9
    [ -e "$mark" ] && { exec 9>&-; return; }
  fi
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "localsynth needs Python 3.11 or newer; name one: PYTHON=/path/to/python3.11 bash run.sh" >&2
    exit 1
  }
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  local pins=(-c "$here/constraints.txt")
  case $backend in
    vllm) extras=${extras:+$extras,}vllm ;; # brings its own versions of what models run on
    *) pins+=(-c "$here/constraints-models.txt") ;;
  esac
  "$venv/bin/python" -m pip install --disable-pip-version-check "${pins[@]}" "$here/$wheel${extras:+[$extras]}"
  # The very wheel of this folder, even where the same version was there.
  "$venv/bin/python" -m pip install --disable-pip-version-check --quiet --no-deps --force-reinstall "$here/$wheel"
  if [ -z "${MODEL:-}${SERVER:-}" ]; then
    "$venv/bin/python" -m localsynth handoff pull "$here" --backend "$backend"
  fi
  printf '%s\n' "$venv" > "$here/.installed" # for `localsynth handoff fetch`
  touch "$mark"
  if command -v flock >/dev/null 2>&1; then exec 9>&-; fi
}

child=
stopping=
stop() {
  stopping=1
  [ -z "$child" ] || kill -TERM "$child" 2>/dev/null || true
}

run_shard() {
  local options=(--shard "$1/$shards" --backend "$backend")
  [ -z "${MODEL:-}" ] || options+=(--model "$MODEL")
  [ -z "${SERVER:-}" ] || options+=(--server "$SERVER")
  [ -z "${TOKENIZER:-}" ] || options+=(--tokenizer "$TOKENIZER")
  [ -z "${SLOTS:-}" ] || options+=(--slots "$SLOTS")
  # In a process group of its own: a Ctrl-C reaches it once, through `stop`, and lets it finish what is in flight.
  set -m
  "$venv/bin/python" -m localsynth run "$here" "${options[@]}" &
  child=$!
  set +m
  [ -z "$stopping" ] || stop # the signal came before there was a child
  local code=0
  # A signal ends `wait` before the run has drained: wait again until it is gone.
  while :; do
    code=0
    wait "$child" || code=$?
    kill -0 "$child" 2>/dev/null || break
  done
  child=
  return "$code"
}

install
[ "${1:-}" != --install ] || exit 0
trap stop TERM INT HUP
worst=0
for shard in ${1:-$(seq 1 "$shards")}; do
  [ -z "$stopping" ] || { worst=6; break; }
  code=0
  run_shard "$shard" || code=$?
  [ "$code" -eq 0 ] || worst=$code
  case $code in 0 | 6) ;; *) exit "$code" ;; esac
done
exit "$worst"
