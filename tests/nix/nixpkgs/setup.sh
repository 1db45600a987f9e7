# SPDX-License-Identifier: MIT
#
# What builder.sh and `nix develop` source: the phases, hooks, outputs and rules about inputs of nixpkgs' stdenv,
# as far as they are used here, for builds by and for this machine. The audits at the end are its own: they find
# what a build hides that sees the host's files.
#
# A list in an attribute is a string here, with blanks between the elements.
# shellcheck shell=bash disable=SC2034,SC2086,SC2125,SC2154,SC2155,SC2206
set -e -o pipefail
shopt -s nullglob

export PATH=$initialPath/bin SHELL=$initialPath/bin/bash CONFIG_SHELL=$initialPath/bin/bash
export CC=gcc CXX=g++ LD=ld AR=ar AS=as NM=nm RANLIB=ranlib STRIP=strip
export OBJCOPY=objcopy OBJDUMP=objdump READELF=readelf
export TZ=UTC LC_ALL=${LC_ALL:-C.UTF-8} SOURCE_DATE_EPOCH=315532800
export NIX_CFLAGS_COMPILE="$NIX_CFLAGS_COMPILE -frandom-seed=${out: -10}" NIX_LDFLAGS
export HOST_PATH PKG_CONFIG_LIBDIR=$stdenv/none # not the host's
unset ACLOCAL_PATH PKG_CONFIG_PATH
[ "${NIX_BUILD_CORES:-0}" != 0 ] || export NIX_BUILD_CORES=$(nproc)
export prefix=${prefix:-$out}

die()
{
    echo "stub: error: $*" >&2
    exit 1
}

# --- Hooks. ---

preFixupHooks=(moveDocumentation moveDevelopment)
fixupOutputHooks=()

# runHook NAME: the function or the attribute of this name, then the commands in the array NAMEHooks.
runHook()
{
    local command
    local -n commands=${1}Hooks
    if declare -F "$1" >/dev/null; then
        "$1"
    else
        eval "${!1}"
    fi
    for command in "${commands[@]}"; do
        eval "$command"
    done
}

# addToSearchPath VARIABLE DIRECTORY: if there is such a directory.
addToSearchPath()
{
    [ ! -d "$2" ] || export "$1=${!1:+${!1}:}$2"
}

# --- Inputs. ---

# Programs that run while the package is built, and what the package itself will need; nixpkgs calls them by the
# offsets -1 and 0. They are kept apart whether strictDeps is set or not.
nativeInputs=()
nativeHooks=()
hostInputs=()
hostHooks=()

# findInputs ARRAY INPUT FILE...: adds an input, and those that it propagates by files in its nix-support.
findInputs()
{
    local file propagated
    local -n inputs=$1
    [ -e "$2" ] || die "build input $2 does not exist"
    [[ " ${inputs[*]} " != *" $2 "* ]] || return 0
    inputs+=("$2")
    for file in "${@:3}"; do
        [ -f "$2/nix-support/$file" ] || continue
        for propagated in $(<"$2/nix-support/$file"); do
            findInputs "$1" "$propagated" "${@:3}"
        done
    done
}

# addEnvHooks OFFSET FUNCTION: for setup hooks; the function gets each input of this offset.
addEnvHooks()
{
    case $1 in
    -1) nativeHooks+=("$2") ;;
    0) hostHooks+=("$2") ;;
    esac
}

# sourceHook INPUT OFFSET
sourceHook()
{
    local hostOffset=$2 targetOffset=$(($2 + 1))
    # shellcheck disable=SC1091
    [ ! -f "$1/nix-support/setup-hook" ] || source "$1/nix-support/setup-hook"
}

addModules()
{
    addToSearchPath PKG_CONFIG_LIBDIR "$1/lib/pkgconfig"
    addToSearchPath PKG_CONFIG_LIBDIR "$1/share/pkgconfig"
}

activateInputs()
{
    local input hook
    for input in $nativeBuildInputs $propagatedNativeBuildInputs; do
        findInputs nativeInputs "$input" propagated-build-inputs propagated-native-build-inputs
    done
    for input in $buildInputs $propagatedBuildInputs; do
        findInputs hostInputs "$input" propagated-build-inputs
    done
    for input in "${nativeInputs[@]}"; do
        addToSearchPath PATH "$input/bin"
        addToSearchPath XDG_DATA_DIRS "$input/share"
        addToSearchPath ACLOCAL_PATH "$input/share/aclocal"
        [ ! -e "$input/nix-support/stub-modules-of-tools" ] || addModules "$input"
        sourceHook "$input" -1
    done
    for input in "${hostInputs[@]}"; do
        addToSearchPath HOST_PATH "$input/bin"
        addModules "$input"
        [ ! -d "$input/include" ] || NIX_CFLAGS_COMPILE+=" -isystem $input/include"
        # The linker finds the host's libraries by itself.
        [ ! -d "$input/lib" ] || [ -e "$input/nix-support/stub-pname" ] || NIX_LDFLAGS+=" -L$input/lib"
        sourceHook "$input" 0
    done
    for hook in "${nativeHooks[@]}"; do
        for input in "${nativeInputs[@]}"; do "$hook" "$input"; done
    done
    for hook in "${hostHooks[@]}"; do
        for input in "${hostInputs[@]}"; do "$hook" "$input"; done
    done
}
activateInputs

# --- Outputs. ---

# chooseOutput VARIABLE NAME...: the first of these outputs that there is.
chooseOutput()
{
    local name
    for name in "${@:2}"; do
        if [ ! "${!1}" ] && [ "${!name}" ]; then
            printf -v "$1" %s "$name"
        fi
    done
}
chooseOutput outputDev dev out
chooseOutput outputBin bin out
chooseOutput outputInclude "$outputDev"
chooseOutput outputLib lib out
chooseOutput outputDoc doc out
chooseOutput outputMan man "$outputBin"
chooseOutput outputDevman devman devdoc "$outputMan"

# moveToOutput PATTERN OUTPUT: what matches in the others.
moveToOutput()
{
    local output file target
    for output in $outputs; do
        [ "${!output}" != "$2" ] || continue
        for file in "${!output}"/$1; do
            [ -e "$file" ] || [ -L "$file" ] || continue
            target=$2${file#"${!output}"}
            echo "moving $file to $target"
            mkdir -p "$(dirname "$target")"
            if [ -d "$target" ]; then
                cp -a "$file/." "$target/"
                rm -r "$file"
            else
                mv "$file" "$target"
            fi
            rmdir -p --ignore-fail-on-non-empty "$(dirname "$file")" 2>/dev/null || true
        done
    done
}

moveDocumentation()
{
    moveToOutput share/doc "${!outputDoc}"
    moveToOutput share/man "${!outputMan}"
    moveToOutput share/man/man3 "${!outputDevman}"
}

moveDevelopment()
{
    local directory file
    [ "$outputs" != out ] || return 0
    moveToOutput include "${!outputInclude}"
    for directory in lib/pkgconfig share/pkgconfig share/aclocal; do
        moveToOutput $directory "${!outputDev}"
    done
    for file in "${!outputDev}"/{lib,share}/pkgconfig/*.pc; do
        sed -i "/^includedir=/s,=\${prefix},=${!outputInclude}," "$file"
    done
}

# --- Flags. ---

# addFlags ARRAY VARIABLE[=DEFAULT]...: appends the words of variables, and the elements of those that are arrays
# by their names: only these may have blanks.
addFlags()
{
    local - variable value
    local -n flags=$1
    set -o noglob
    for variable in "${@:2}"; do
        value=${variable%%=*}[@]
        case $variable in
        *Array) flags+=("${!value}") ;;
        *=*) flags+=(${!value:-${variable#*=}}) ;;
        *) flags+=(${!value}) ;;
        esac
    done
}

# runMake PARALLEL VARIABLE...: with what the variables hold, too; see addFlags.
runMake()
{
    local arguments=(SHELL="$SHELL")
    [ ! "$1" ] || arguments+=("-j$NIX_BUILD_CORES")
    addFlags arguments makeFlags makeFlagsArray "${@:2}"
    echo "make ${arguments[*]@Q}"
    make "${arguments[@]}"
}

# Where the parts of the package are installed. The user's flags win.
addOutputFlags()
{
    [ "$outputs" != out ] || return 0
    configureFlags="--bindir=${!outputBin}/bin --sbindir=${!outputBin}/sbin \
        --includedir=${!outputInclude}/include --mandir=${!outputMan}/share/man \
        --infodir=${!outputBin}/share/info --docdir=${!outputDoc}/share/doc/${pname:-$name} --libdir=${!outputLib}/lib \
        --libexecdir=${!outputLib}/libexec --localedir=${!outputLib}/share/locale $configureFlags"
    installFlags="pkgconfigdir=${!outputDev}/lib/pkgconfig m4datadir=${!outputDev}/share/aclocal \
        aclocaldir=${!outputDev}/share/aclocal $installFlags"
}

# --- Phases. ---

unpackPhase()
{
    local newest
    runHook preUnpack
    if [ -d "$src" ]; then
        cp -r "$src" source
    else
        tar xf "$src"
    fi
    chmod -R u+w ./*/
    cd ./*/
    # The newest file tells when a tarball was made. A directory's are of now, other than in nixpkgs: thus a package
    # that depends on that is not the same when it is built again.
    newest=$(find . -type f -newermt @$SOURCE_DATE_EPOCH -printf '%Ts\n' | sort -n | tail -n 1)
    SOURCE_DATE_EPOCH=${newest:-$SOURCE_DATE_EPOCH}
    runHook postUnpack
}

patchPhase()
{
    runHook prePatch
    runHook postPatch
}

configurePhase()
{
    local arguments=("--prefix=$prefix")
    runHook preConfigure
    if [ -x configure ]; then
        ! grep -q enable-static configure || arguments+=(--disable-static)
        ! grep -q dependency-tracking configure || arguments+=(--disable-dependency-tracking)
        addOutputFlags
        addFlags arguments configureFlags configureFlagsArray
        echo "configure ${arguments[*]@Q}"
        if ! ./configure "${arguments[@]}"; then
            tail -n 60 config.log || true
            die "configure failed"
        fi
        ! grep -s 'unrecognized options:' config.log || die "configure does not know all its flags"
    fi
    runHook postConfigure
}

buildPhase()
{
    runHook preBuild
    [ ! -e Makefile ] || runMake "$enableParallelBuilding" buildFlags buildFlagsArray
    runHook postBuild
}

checkPhase()
{
    runHook preCheck
    if ! runMake "$enableParallelChecking" checkFlags=VERBOSE=y checkFlagsArray checkTarget=check; then
        find . -name test-suite.log -exec cat {} +
        die "make check failed"
    fi
    runHook postCheck
}

installPhase()
{
    runHook preInstall
    if [ -e Makefile ]; then
        mkdir -p "$prefix"
        runMake "$enableParallelInstalling" installFlags installFlagsArray installTargets=install
    fi
    runHook postInstall
}

installCheckPhase()
{
    die "doInstallCheck needs an installCheckPhase"
}

fixupPhase()
{
    local output prefix
    for output in $outputs; do
        [ ! -e "${!output}" ] || chmod -R u+w,u-s,g-s "${!output}"
    done
    runHook preFixup
    for output in $outputs; do
        prefix=${!output}
        [ -d "$prefix" ] || continue
        runHook fixupOutput
        find "$prefix" -name '*.la' -exec sed -i "/^old_library=''/,\$ s/^dependency_libs=.*/dependency_libs=''/" {} +
        [ ! -d "$prefix/share/man" ] || find "$prefix/share/man" -type f ! -name '*.gz' -exec gzip -9n {} +
        stripAll "$prefix"
        patchShebangs --host "$prefix"
    done
    propagate
    runHook postFixup
}

genericBuild()
{
    local phase without
    export NIX_BUILD_TOP TMPDIR HOME
    if [ "$buildCommand" ]; then
        eval "$buildCommand"
        audit auditLibraries
    else
        for phase in unpackPhase patchPhase $preConfigurePhases configurePhase buildPhase checkPhase installPhase \
            $preFixupPhases fixupPhase installCheckPhase; do
            without=${phase%Phase}
            without=dont${without^}
            case $phase in
            checkPhase) [ "$doCheck" ] || continue ;;
            installCheckPhase) [ "$doInstallCheck" ] || continue ;;
            *) [ ! "${!without}" ] || continue ;;
            esac
            echo "@@ $phase"
            # An attribute of this name is its commands.
            eval "${!phase:-$phase}"
        done
        audit auditLibraries auditModules auditPlaces
    fi
}

# --- What is done to files. ---

isELF()
{
    [ "$(head -c 4 "$1" | tr -d '\0')" = $'\177ELF' ]
}

# Neither what debuggers want nor the time when a static library was made.
stripAll()
{
    local file
    while IFS= read -r -d '' file; do
        if isELF "$file" || [[ $file == *.a ]]; then
            strip -S -p --enable-deterministic-archives "$file"
        fi
    done < <(find "$1" -type f -print0)
}

# patchShebangs --build|--host FILE...: scripts get their interpreters from the inputs of this kind.
patchShebangs()
{
    local file program search interpreter='^#! *(/usr)?/bin/(env +)?([^ /]+)( .*)?$'
    case $1 in
    --build) search=$PATH ;;
    --host) search=$HOST_PATH:$initialPath/bin ;;
    *) die "patchShebangs: $1" ;;
    esac
    shift
    while IFS= read -r -d '' file; do
        [[ $(head -c 256 "$file" | head -n 1 | tr -d '\0') =~ $interpreter ]] || continue
        program=$(PATH=$search type -P "${BASH_REMATCH[3]}") ||
            die "$file: interpreter ${BASH_REMATCH[3]} is not among the build inputs"
        sed -i "1c\\#!$program${BASH_REMATCH[4]}" "$file"
    done < <(find "$@" -type f -perm -0100 -print0)
}

# substituteInPlace FILE [--replace-fail TEXT NEW]...
substituteInPlace()
{
    local file=$1 text
    text=$(<"$file")
    shift
    while [ $# != 0 ]; do
        [ "$1" = --replace-fail ] || die "substituteInPlace: $1"
        [[ $text == *"$2"* ]] || die "substituteInPlace: $file has no '$2'"
        text=${text//"$2"/"$3"}
        shift 3
    done
    printf '%s\n' "$text" >"$file"
}

# What comes along for those who name the output for development as an input: the other outputs, too.
propagate()
{
    local name others=
    if [ "$outputs" = out ] && [ ! "$propagatedBuildInputs$propagatedNativeBuildInputs" ]; then
        return
    fi
    for name in $outputBin $outputInclude $outputLib; do
        [ "$name" = "$outputDev" ] || [ ! -d "${!name}" ] || others+=" ${!name}"
    done
    mkdir -p "${!outputDev}/nix-support"
    echo "$propagatedBuildInputs$others" >"${!outputDev}/nix-support/propagated-build-inputs"
    echo "$propagatedNativeBuildInputs" >"${!outputDev}/nix-support/propagated-native-build-inputs"
}

# --- Audits. ---

# audit FUNCTION...: of all outputs there are; Nix tells of the others.
audit()
{
    local output one
    for output in $outputs; do
        for one; do
            [ ! -e "${!output}" ] || "$one" "${!output}"
        done
    done
}

# ownerOf LIBRARY: the host's package that it is of.
ownerOf()
{
    local - owner patterns pattern
    set -o noglob
    while read -r owner patterns; do
        for pattern in $patterns; do
            # shellcheck disable=SC2053 # a pattern
            [[ $1 != $pattern ]] || echo "$owner"
        done
    done <"$stdenv/claims"
}

# isLibraryOf PATTERN DIRECTORY...: whether one of these packages has it, this one itself, or the C library.
isLibraryOf()
{
    local directory output
    for directory in "${@:2}"; do
        ! compgen -G "$directory/lib/$1" >/dev/null || return 0
    done
    for output in $outputs; do
        ! compgen -G "${!output}/lib/$1" >/dev/null || return 0
    done
    [ "$(ownerOf "$1")" = libc ]
}

# The libraries that are loaded with a file are those of declared inputs, and found where they will be.
auditLibraries()
{
    local file library dynamic
    while IFS= read -r -d '' file; do
        isELF "$file" || continue
        dynamic=$(readelf -d "$file")
        for library in $(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' <<<"$dynamic"); do
            isLibraryOf "$library" "${hostInputs[@]}" ||
                die "$file needs $library, but $(ownerOf "$library") is not in buildInputs"
        done
        ! grep -E '\((RPATH|RUNPATH)\)' <<<"$dynamic" | grep -F -e "$NIX_BUILD_TOP" -e '[/usr' -e ':/usr' ||
            die "$file has a bad run path"
    done < <(find "$1" -type f -print0)
}

# Who builds with this package has those of its inputs that are propagated, and no others.
auditModules()
{
    local file word directory
    consumerInputs=()
    for word in $propagatedBuildInputs; do
        findInputs consumerInputs "$word" propagated-build-inputs
    done
    for file in "$1"/{lib,share}/pkgconfig/*.pc; do
        for word in $(sed -n 's/^Libs://p' "$file"); do
            [[ $word == -l* ]] || continue
            isLibraryOf "lib${word#-l}.so*" "${consumerInputs[@]}" || isLibraryOf "lib${word#-l}.a" ||
                die "$file has $word, but $(ownerOf "lib${word#-l}.so.0") is not in propagatedBuildInputs"
        done
        for word in $(sed -n 's/^Requires[.a-z]*://p' "$file" | tr , ' ' | sed 's/[<>=!]\+ *[^ ]*//g'); do
            for directory in "${consumerInputs[@]}" "${!outputDev}" ''; do
                [ ! -e "$directory/lib/pkgconfig/$word.pc" ] || break
            done
            [ "$directory" ] || die "$file requires $word, which is not in propagatedBuildInputs"
        done
    done
}

# Nothing names the directory of the build, which is gone by then, or what is not there. (What is in a directory may
# be called so: Autotools' build-aux, and afork's packaging/build-debian.)
auditPlaces()
{
    local file place="$NIX_BUILD_TOP(?!-(aux|debian)\b)"
    while IFS= read -r -d '' file; do
        if gzip -dcf "$file" | LC_ALL=C grep -aPo ".{0,60}$place.{0,60}"; then
            die "$file names the build directory"
        fi
    done < <(LC_ALL=C grep -raPlZ "$place" "$1" || true; find "$1" -name '*.gz' -print0)
    while IFS= read -r -d '' file; do
        [ -e "$file" ] || die "broken symlink $file -> $(readlink "$file")"
    done < <(find "$1" -type l -print0)
}
