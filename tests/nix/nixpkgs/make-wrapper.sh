# SPDX-License-Identifier: MIT
#
# makeWrapper and wrapProgram with the options of nixpkgs' shell version.
# shellcheck shell=bash disable=SC2154
makeWrapper() { # original, wrapper, options
  local orig=$1 wrap=$2 argv0=\"$1\" flags='' v s x; shift 2
  [[ -x $orig ]] || { echo "makeWrapper: $orig is not executable" >&2; return 1; }
  mkdir -p "$(dirname "$wrap")"
  {
    echo "#!$initialPath/bin/bash -e"
    while (( $# )); do
      case $1 in
        --set) printf 'export %s=%q\n' "$2" "$3"; shift 3 ;;
        --set-default) printf 'export %s=${%s-%q}\n' "$2" "$2" "$3"; shift 3 ;;
        --unset) echo "unset $2"; shift 2 ;;
        --run) echo "$2"; shift 2 ;;
        --chdir) printf 'cd %q\n' "$2"; shift 2 ;;
        --prefix) v=$2 s=$3 x=$4; printf 'export %s=%q${%s:+%q"$%s"}\n' "$v" "$x" "$v" "$s" "$v"; shift 4 ;;
        --suffix) v=$2 s=$3 x=$4; printf 'export %s=${%s:+"$%s"%q}%q\n' "$v" "$v" "$v" "$s" "$x"; shift 4 ;;
        --add-flags) flags="$flags $2"; shift 2 ;;
        --argv0) argv0=\"$2\"; shift 2 ;;
        --inherit-argv0) argv0='"$0"'; shift ;;
        *) echo "makeWrapper: unknown option $1" >&2; return 1 ;;
      esac
    done
    printf 'exec -a %s %q%s "$@"\n' "$argv0" "$orig" "$flags"
  } > "$wrap"
  chmod +x "$wrap"
}
wrapProgram() {
  local prog=$1 hidden; shift
  hidden=$(dirname "$prog")/.$(basename "$prog")-wrapped
  while [[ -e $hidden ]]; do hidden=${hidden}_; done
  mv "$prog" "$hidden"
  makeWrapper "$hidden" "$prog" --inherit-argv0 "$@"
}
