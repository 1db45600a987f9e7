# SPDX-License-Identifier: MIT
#
# makeWrapper and wrapProgram, of which there is one kind here: a script that sets variables and executes a program.
# shellcheck shell=bash disable=SC2154

# makeWrapper PROGRAM SCRIPT [--set-default VARIABLE VALUE | --prefix VARIABLE SEPARATOR VALUE |
#   --suffix VARIABLE SEPARATOR VALUE | --add-flags WORDS | --inherit-argv0]...
makeWrapper()
{
    local program=$1 script=$2 name=\"$1\" flags=
    local lines=("#!$initialPath/bin/bash -e")
    shift 2
    [ -x "$program" ] || die "makeWrapper: $program is not executable"
    while [ $# != 0 ]; do
        case $1 in
        --set-default)
            lines+=("export $2=\${$2-${3@Q}}")
            shift 3
            ;;
        --prefix)
            lines+=("export $2=${4@Q}\${$2:+$3\$$2}")
            shift 4
            ;;
        --suffix)
            lines+=("export $2=\${$2:+\$$2$3}${4@Q}")
            shift 4
            ;;
        --add-flags)
            flags+=" $2"
            shift 2
            ;;
        --inherit-argv0)
            name='"$0"'
            shift
            ;;
        *) die "makeWrapper: $1" ;;
        esac
    done
    mkdir -p "$(dirname "$script")"
    printf '%s\n' "${lines[@]}" "exec -a $name $program$flags \"\$@\"" >"$script"
    chmod +x "$script"
}

# wrapProgram PROGRAM OPTION...: in its place.
wrapProgram()
{
    local hidden
    hidden=$(dirname "$1")/.$(basename "$1")-wrapped
    [ ! -e "$hidden" ] || die "wrapProgram: $1 is wrapped already"
    mv "$1" "$hidden"
    makeWrapper "$hidden" "$1" --inherit-argv0 "${@:2}"
}
