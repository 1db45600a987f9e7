# SPDX-License-Identifier: MIT
#
# The builder of the stand-in stdenv.  It follows the phases, hooks, output
# splitting and dependency rules of nixpkgs' stdenv (native compilation only)
# and adds audits that find what a host-backed build would otherwise hide.
# shellcheck shell=bash disable=SC2154,SC2086,SC2034,SC1090,SC2053
set -eu -o pipefail
shopt -s nullglob

export PATH=$initialPath/bin SHELL=$initialPath/bin/bash CONFIG_SHELL=$initialPath/bin/bash
export TZ=UTC LC_ALL=${LC_ALL:-C.UTF-8} SOURCE_DATE_EPOCH=315532800
# Nix sets HOME=/homeless-shelter; a builder that may create it (root without
# sandbox) would make Nix refuse every later build.
if [[ -w / ]]; then export HOME=$NIX_BUILD_TOP/.home; fi
export NIX_BUILD_CORES=${NIX_BUILD_CORES:-1} prefix=${prefix:-${out-}}
(( NIX_BUILD_CORES > 0 )) || NIX_BUILD_CORES=$(nproc)
export CC=gcc CXX=g++ LD=ld AR=ar AS=as NM=nm RANLIB=ranlib STRIP=strip OBJCOPY=objcopy OBJDUMP=objdump READELF=readelf
unset ACLOCAL_PATH PKG_CONFIG_PATH
export PKG_CONFIG_LIBDIR=$stdenv/none HOST_PATH=''

die() { echo "stub: error: $*" >&2; exit 1; }
echoCmd() { printf '%s:' "$1"; shift; printf ' %q' "$@"; echo; }
appendToVar() { local -n _v=$1; shift; _v="${_v-} $*"; }
prependToVar() { local -n _v=$1; shift; _v="$* ${_v-}"; }
addToSearchPath() { local -n _p=$1; [[ -d $2 ]] || return 0; export "$1=${_p:+$_p:}$2"; }

runHook() {
  local name=$1 h; shift
  if declare -F "$name" >/dev/null; then "$name" "$@"; elif [[ -n ${!name-} ]]; then eval "${!name}"; fi
  local -n _hooks="${name%Hook}Hooks"
  for h in ${_hooks+"${_hooks[@]}"}; do eval "$h"; done
}
declare -a preConfigureHooks=() preFixupHooks=() postFixupHooks=() postInstallHooks=() fixupOutputHooks=()
declare -a pkgsNative=() pkgsHost=() envHooksNative=() envHooksHost=()

getAllOutputNames() { echo $outputs; }

# --- dependencies ------------------------------------------------------------
# nativeBuildInputs: PATH, setup hooks, aclocal macros.
# buildInputs:       pkg-config files, headers and libraries, HOST_PATH.
# Without strictDeps both kinds are visible to both, as in nixpkgs.
findInputs() { # pkg, list, names of the propagation files
  local pkg=$1; local -n _list=$2; local f q
  [[ -e $pkg ]] || die "build input $pkg does not exist"
  for q in ${_list+"${_list[@]}"}; do [[ $q != "$pkg" ]] || return 0; done
  _list+=("$pkg")
  for f in $3; do
    [[ ! -f $pkg/nix-support/$f ]] || for q in $(<"$pkg/nix-support/$f"); do findInputs "$q" "$2" "$3"; done
  done
}
for p in ${nativeBuildInputs-} ${propagatedNativeBuildInputs-}; do
  findInputs "$p" pkgsNative "propagated-build-inputs propagated-native-build-inputs"
done
for p in ${buildInputs-} ${propagatedBuildInputs-}; do findInputs "$p" pkgsHost propagated-build-inputs; done

addEnvHooks() { if (( $1 < 0 )); then envHooksNative+=("${@:2}"); else envHooksHost+=("${@:2}"); fi; }
activate() { # pkg, offset
  local hostOffset=$2 targetOffset=$(( $2 + 1 ))
  if [[ $2 == -1 || -z ${strictDeps-} ]]; then addToSearchPath PATH "$1/bin"; fi
  if [[ $2 == 0 ]]; then addToSearchPath HOST_PATH "$1/bin"; fi
  if [[ $2 == -1 ]]; then addToSearchPath XDG_DATA_DIRS "$1/share"; fi
  if [[ $2 == -1 || -z ${strictDeps-} ]]; then addToSearchPath ACLOCAL_PATH "$1/share/aclocal"; fi
  if [[ $2 == 0 || -z ${strictDeps-} || -e $1/nix-support/stub-host-pc ]]; then
    addToSearchPath PKG_CONFIG_LIBDIR "$1/lib/pkgconfig"; addToSearchPath PKG_CONFIG_LIBDIR "$1/share/pkgconfig"
  fi
  if [[ $2 == 0 ]]; then
    if [[ -d $1/include ]]; then NIX_CFLAGS_COMPILE="${NIX_CFLAGS_COMPILE-} -isystem $1/include"; fi
    if [[ -d $1/lib && ! -e $1/nix-support/stub-pname ]]; then NIX_LDFLAGS="${NIX_LDFLAGS-} -L$1/lib"; fi
  fi
  addToSearchPath PERL5LIB "$1/lib/perl5/site_perl"
  addToSearchPath GI_TYPELIB_PATH "$1/lib/girepository-1.0"
  if [[ -d $1/share/gir-1.0 ]]; then addToSearchPath XDG_DATA_DIRS "$1/share"; fi
  if [[ -f $1/nix-support/setup-hook ]]; then source "$1/nix-support/setup-hook"; fi
}
for p in ${pkgsNative+"${pkgsNative[@]}"}; do activate "$p" -1; done
for p in ${pkgsHost+"${pkgsHost[@]}"}; do activate "$p" 0; done
export NIX_CFLAGS_COMPILE="${NIX_CFLAGS_COMPILE-} -frandom-seed=${out:+${out: -10}}" NIX_LDFLAGS=${NIX_LDFLAGS-}
export NIX_HARDENING=" ${hardeningDisable-} "
PATH=$PATH # keep the declared tools behind the base ones

# --- output splitting ----------------------------------------------------------
_first() { local var=$1 o; [[ -z ${!var-} ]] || return 0; for o in "${@:2}"; do [[ -z ${!o-} ]] || { eval "$var=$o"; return; }; done; }
_first outputDev dev out; _first outputBin bin out; _first outputInclude "${outputDev-out}"; _first outputLib lib out
_first outputDoc doc out; _first outputMan man "${outputBin-out}"; _first outputInfo info "${outputBin-out}"
REMOVE=REMOVE; _first outputDevdoc devdoc REMOVE; _first outputDevman devman devdoc "${outputMan-out}"

_multioutConfig() {
  [[ $outputs != out && -n ${setOutputFlags-1} ]] || return 0
  local name=${shareDocName:-${pname:-$name}}
  prependToVar configureFlags "--bindir=${!outputBin}/bin --sbindir=${!outputBin}/sbin" \
    "--includedir=${!outputInclude}/include --mandir=${!outputMan}/share/man --infodir=${!outputInfo}/share/info" \
    "--docdir=${!outputDoc}/share/doc/$name --libdir=${!outputLib}/lib --libexecdir=${!outputLib}/libexec" \
    "--localedir=${!outputLib}/share/locale"
  prependToVar installFlags "pkgconfigdir=${!outputDev}/lib/pkgconfig m4datadir=${!outputDev}/share/aclocal aclocaldir=${!outputDev}/share/aclocal"
}
moveToOutput() { # pattern, destination output path (or REMOVE)
  local o src dst
  for o in $outputs; do
    [[ ${!o} != "$2" ]] || continue
    for src in "${!o}"/$1; do
      [[ -e $src || -L $src ]] || continue
      if [[ $2 == REMOVE ]]; then rm -r "$src"; continue; fi
      dst=$2${src#"${!o}"}
      echo "moving $src to $dst"
      mkdir -p "$(dirname "$dst")"
      if [[ -d $dst && -d $src ]]; then cp -a "$src/." "$dst/"; rm -r "$src"; else mv "$src" "$dst"; fi
      rmdir -p --ignore-fail-on-non-empty "$(dirname "$src")" 2>/dev/null || true
    done
  done
}
_multioutDocs() {
  moveToOutput share/info "${!outputInfo}"; moveToOutput share/doc "${!outputDoc}"
  moveToOutput share/gtk-doc "${!outputDevdoc}"; moveToOutput share/devhelp/books "${!outputDevdoc}"
  moveToOutput share/man "${!outputMan}"; moveToOutput share/man/man3 "${!outputDevman}"
}
_multioutDevs() {
  [[ $outputs != out && -n ${moveToDev-1} ]] || return 0
  local d f
  moveToOutput include "${!outputInclude}"
  for d in lib/pkgconfig share/pkgconfig lib/cmake share/aclocal; do moveToOutput $d "${!outputDev}"; done
  for f in "${!outputDev}"/{lib,share}/pkgconfig/*.pc; do sed -i "/^includedir=/s,=\${prefix},=${!outputInclude}," "$f"; done
}
preConfigureHooks+=(_multioutConfig); preFixupHooks+=(_multioutDocs _multioutDevs)

# --- phases ------------------------------------------------------------------
unpackPhase() {
  runHook preUnpack
  local s d before; before=$(ls -A)
  for s in ${srcs-${src-}}; do
    d=$(basename "$s"); d=${d#????????????????????????????????-}
    if [[ -d $s ]]; then cp -r --no-preserve=ownership "$s" "$d"; else tar xf "$s"; fi
  done
  if [[ -z ${sourceRoot-} ]]; then
    for d in *; do [[ -d $d && $d != env-vars && " $before " != *" $d "* ]] && sourceRoot=$d; done
  fi
  [[ -n ${sourceRoot-} ]] || die "unpacker produced no directory"
  chmod -R u+w "$sourceRoot"
  # Like set-source-date-epoch-to-latest: the newest file of a tarball decides.
  d=$(find "$sourceRoot" -type f -newermt '@315532800' -printf '%T@\n' | sort -n | tail -n1)
  if [[ -n $d ]]; then export SOURCE_DATE_EPOCH=${d%.*}; fi
  cd "$sourceRoot"
  runHook postUnpack
}
patchPhase() {
  runHook prePatch
  local p; for p in ${patches-}; do echo "applying $p"; patch -p1 < "$p"; done
  runHook postPatch
}
configurePhase() {
  runHook preConfigure
  if [[ -z ${configureScript-} && -x ./configure ]]; then configureScript=./configure; fi
  if [[ -z ${configureScript-} ]]; then echo "no configure script, doing nothing"; runHook postConfigure; return; fi
  [[ -n ${dontAddPrefix-} ]] || prependToVar configureFlags "--prefix=$prefix"
  if grep -q dependency-tracking "$configureScript"; then prependToVar configureFlags --disable-dependency-tracking; fi
  if [[ -z ${dontDisableStatic-} ]] && grep -q enable-static "$configureScript"; then prependToVar configureFlags --disable-static; fi
  echoCmd 'configure flags' $configureFlags
  if ! $configureScript $configureFlags; then tail -n 60 config.log || true; die "configure failed"; fi
  if [[ -f config.log ]] && grep -q 'unrecognized options' config.log; then
    die "configure does not know: $(grep -m1 -o 'unrecognized options:.*' config.log)"
  fi
  runHook postConfigure
}
_make() { # what, arguments
  echoCmd "$1 flags" "${@:2}" ${makeFlags-}; make SHELL="$SHELL" ${makeFlags-} "${@:2}"
}
buildPhase() {
  runHook preBuild
  if [[ -n ${makefile-} || -e Makefile || -e GNUmakefile ]]; then
    _make build ${enableParallelBuilding:+-j$NIX_BUILD_CORES} ${buildFlags-}
  fi
  runHook postBuild
}
checkPhase() {
  runHook preCheck
  _make check ${enableParallelChecking:+-j$NIX_BUILD_CORES} VERBOSE=y ${checkFlags-} ${checkTarget:-check} ||
    { find . -name 'test-suite.log' -exec cat {} +; die "make check failed"; }
  runHook postCheck
}
installPhase() {
  runHook preInstall
  if [[ -e Makefile || -e GNUmakefile ]]; then mkdir -p "$prefix"; _make install ${installFlags-} ${installTargets:-install}; fi
  runHook postInstall
}
installCheckPhase() {
  runHook preInstallCheck
  if grep -qs '^installcheck:' Makefile; then _make installcheck ${installCheckFlags-} ${installCheckTarget:-installcheck}; fi
  runHook postInstallCheck
}

isELF() { [[ $(head -c4 "$1" | tr -d '\0') == $'\177ELF' ]]; }
patchShebangs() { # [--build|--host] paths
  local search=$HOST_PATH f line interp
  case $1 in --build) search=$PATH; shift ;; --host) shift ;; esac
  while IFS= read -r -d '' f; do
    line=$(head -c 256 "$f" | head -n1 | tr -d '\0')
    [[ $line =~ ^#!\ *(/usr)?/bin/(env\ +)?([^ /]+)(\ (.*))?$ ]] || continue
    interp=$(PATH=$search:$initialPath/bin type -P "${BASH_REMATCH[3]}") || die "$f: interpreter ${BASH_REMATCH[3]} is not among the build inputs"
    sed -i "1c\\#!$interp${BASH_REMATCH[5]:+ ${BASH_REMATCH[5]}}" "$f"
  done < <(find "$@" -type f -perm -0100 -print0)
}
# Nix has no idea of a library that comes from /usr, so the audit below does:
# every NEEDED entry must belong to this package, to a declared input that Nix
# built, or to a host package that is declared (or propagated) in buildInputs.
auditNeeded() {
  local f so owner decl=" libc " d
  for d in ${pkgsHost+"${pkgsHost[@]}"}; do if [[ -f $d/nix-support/stub-pname ]]; then decl+="$(<"$d/nix-support/stub-pname") "; fi; done
  while IFS= read -r -d '' f; do
    isELF "$f" || continue
    while read -r so; do
      for d in $outputs; do [[ -z "$(find "${!d}/lib" -name "$so" 2>/dev/null)" ]] || continue 2; done
      for d in ${pkgsHost+"${pkgsHost[@]}"}; do [[ ! -e $d/lib/$so ]] || continue 2; done
      owner=$(while read -r o g; do [[ $so != $g ]] || { echo "$o"; break; }; done < "$stdenv/claims")
      [[ -n $owner ]] || die "$f needs $so, which no package of the stub provides"
      [[ $decl == *" $owner "* ]] || die "$f needs $so, but $owner is not in buildInputs"
    done < <(readelf -d "$f" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
    if readelf -d "$f" | grep -E '\((RPATH|RUNPATH)\)' | grep -F -e "$NIX_BUILD_TOP" -e '[/usr' -e ':/usr'; then die "$f has a bad run path"; fi
  done < <(find "$1" -type f -print0)
}
auditText() { # build paths and host paths in what other packages read
  local f
  while IFS= read -r -d '' f; do
    if grep -HnE "$NIX_BUILD_TOP([^[:alnum:]_.-]|\$)" "$f"; then die "$f names the build directory"; fi
  done < <(find "$1" -type f \( -name '*.pc' -o -name '*.la' -o -name '*.gir' -o -name '*.typelib' -o -name '*.vapi' -o -name '*.h' -o -name '*.html' -o -perm -0100 \) -print0)
  while IFS= read -r -d '' f; do [[ -e $f ]] || die "broken symlink $f -> $(readlink "$f")"; done < <(find "$1" -type l -print0)
}
fixupPhase() {
  local o f h prefix
  for o in $outputs; do if [[ -e ${!o} ]]; then chmod -R u+w,u-s,g-s "${!o}"; fi; done
  runHook preFixup
  for o in $outputs; do
    prefix=${!o}; [[ -d $prefix ]] || continue
    for h in ${fixupOutputHooks+"${fixupOutputHooks[@]}"}; do eval "$h"; done
    while IFS= read -r -d '' f; do
      if grep -q "^old_library=''" "$f"; then sed -i "/^dependency_libs='[^']/c dependency_libs='' #pruned" "$f"; fi
    done < <(find "$prefix" -name '*.la' -type f -print0)
    if [[ -d $prefix/share/man ]]; then
      find "$prefix/share/man" -type f ! -name '*.gz' -exec gzip -9n {} +
    fi
    if [[ -z ${dontStrip-} ]]; then
      while IFS= read -r -d '' f; do
        if isELF "$f" || [[ $f == *.a ]]; then strip -S -p --enable-deterministic-archives "$f"; fi
      done < <(find "$prefix" -type f -print0)
    fi
    [[ -n ${dontPatchShebangs-} ]] || patchShebangs "$prefix"
  done
  # Propagation, as recorded by nixpkgs in the development output.
  if [[ -n ${propagatedBuildInputs-}${propagatedNativeBuildInputs-} || $outputs != out ]]; then
    mkdir -p "${!outputDev}/nix-support"
    f=; for o in "$outputBin" "$outputInclude" "$outputLib"; do if [[ $o != "$outputDev" && " $f " != *" ${!o} "* && -d ${!o} ]]; then f+=" ${!o}"; fi; done
    echo "${propagatedBuildInputs-}$f" > "${!outputDev}/nix-support/propagated-build-inputs"
    if [[ -n ${propagatedNativeBuildInputs-} ]]; then echo "$propagatedNativeBuildInputs" > "${!outputDev}/nix-support/propagated-native-build-inputs"; fi
  fi
  if [[ -n ${setupHook-} ]]; then mkdir -p "${!outputDev}/nix-support"; cp "$setupHook" "${!outputDev}/nix-support/setup-hook"; fi
  runHook postFixup
  for o in $outputs; do if [[ -d ${!o} ]]; then auditNeeded "${!o}"; auditText "${!o}"; fi; done
}
substituteInPlace() {
  local files=() f c; while [[ $# -gt 0 && $1 != --* ]]; do files+=("$1"); shift; done
  for f in "${files[@]}"; do
    c=$(<"$f")
    local a=("$@") i=0
    while (( i < ${#a[@]} )); do
      case ${a[i]} in
        --replace-fail) [[ $c == *"${a[i+1]}"* ]] || die "substituteInPlace: $f has no '${a[i+1]}'" ;;&
        --replace-fail | --replace-warn | --replace-quiet | --replace) c=${c//"${a[i+1]}"/"${a[i+2]}"}; i=$((i + 3)) ;;
        --subst-var-by) c=${c//"@${a[i+1]}@"/"${a[i+2]}"}; i=$((i + 3)) ;;
        --subst-var) local v=${a[i+1]}; c=${c//"@$v@"/"${!v}"}; i=$((i + 2)) ;;
        *) die "substituteInPlace: ${a[i]}" ;;
      esac
    done
    printf '%s\n' "$c" > "$f"
  done
}

genericBuild() {
  export NIX_BUILD_TOP TMPDIR HOME
  if [[ -n ${buildCommand-} ]]; then eval "$buildCommand"; return; fi
  local p
  : "${phases:=${prePhases-} unpackPhase patchPhase ${preConfigurePhases-} configurePhase ${preBuildPhases-} buildPhase checkPhase ${preInstallPhases-} installPhase ${preFixupPhases-} fixupPhase installCheckPhase ${preDistPhases-} distPhase ${postPhases-}}"
  for p in $phases; do
    case $p in
      checkPhase) [[ -n ${doCheck-} ]] || continue ;;
      installCheckPhase) [[ -n ${doInstallCheck-} ]] || continue ;;
      distPhase) continue ;;
      unpackPhase) [[ -z ${dontUnpack-} ]] || continue ;;
      configurePhase) [[ -z ${dontConfigure-} ]] || continue ;;
      buildPhase) [[ -z ${dontBuild-} ]] || continue ;;
      installPhase) [[ -z ${dontInstall-} ]] || continue ;;
      fixupPhase) [[ -z ${dontFixup-} ]] || continue ;;
    esac
    echo "@@ $p"
    # A phase given as an attribute (an environment variable) wins.
    if [[ -n ${!p-} ]]; then eval "${!p}"; else "$p"; fi
  done
}

# As in nixpkgs: phases, hooks and `nix develop` run without nounset.
set +u
