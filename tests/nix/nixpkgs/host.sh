# shellcheck shell=bash disable=SC2154,SC2086,SC2046,SC2231
# SPDX-License-Identifier: MIT
#
# Makes a package of links to what the host has; see host.nix. All variables are lists.
mkdir -p $out/nix-support

miss()
{
    if [ "$optional" ]; then
        echo "$pname: the host has no $1" >> $out/nix-support/missing
    else
        echo "stub: the host has no $1: apt-get install $apt" >&2
        exit 1
    fi
}

# give DIRECTORY FILE...
give()
{
    mkdir -p $out/$1
    ln -sf "${@:2}" $out/$1/
}

# The first of some files that exists.
first()
{
    local file
    for file; do
        if [ -e "$file" ]; then
            echo "$file"
            return
        fi
    done
}

for program in $bins; do
    if path=$(type -P $program); then
        give bin $path
    else
        miss "program $program"
    fi
done
set -- $wrapped
while [ $# -gt 0 ]; do
    sed "s,@real@,$(readlink $out/bin/$1)," $2 > wrapper
    rm $out/bin/$1
    cp wrapper $out/bin/$1
    chmod +x $out/bin/$1
    shift 2
done

seen=" "
set -- $modules
while [ $# -gt 0 ]; do
    module=$1
    shift
    case $seen in *" $module "*) continue ;; esac
    seen="$seen$module "
    file=$(first /usr/lib/*/pkgconfig/$module.pc /usr/lib/pkgconfig/$module.pc /usr/share/pkgconfig/$module.pc)
    if [ -z "$file" ]; then
        miss "$module.pc"
        continue
    fi
    give lib/pkgconfig $file
    case " ${wrapped:+$modules} " in *" $module "*) # it names the programs
        sed "s,^bindir=.*,bindir=$out/bin," $file > module
        rm $out/lib/pkgconfig/$module.pc
        cp module $out/lib/pkgconfig/$module.pc
        ;;
    esac
    set -- "$@" $(sed -n 's/^Requires\(\.private\)\{0,1\}://p' $file | tr , ' ' | sed 's/[<>=!]\+ *[^ ]*//g')
done

for pattern in $m4; do
    for file in /usr/share/aclocal/$pattern; do
        if [ -e $file ]; then give share/aclocal $file; else miss $file; fi
    done
done
for gir in $girs; do
    file=$(first /usr/share/gir-1.0/$gir.gir)
    if [ "$file" ]; then give share/gir-1.0 $file; else miss $gir.gir; fi
done
for typelib in $typelibs; do
    file=$(first /usr/lib/*/girepository-1.0/$typelib.typelib /usr/lib/girepository-1.0/$typelib.typelib)
    if [ "$file" ]; then give lib/girepository-1.0 $file; else miss $typelib.typelib; fi
done
for pattern in $sonames; do
    for file in /usr/lib/*/$pattern /lib/*/$pattern; do
        if [ -e $file ]; then give lib $file; fi
    done
done
for directory in $shares; do
    if [ -d /usr/$directory ]; then give $(dirname $directory) /usr/$directory; else miss $directory; fi
done

if [ "$propagated" ]; then echo $propagated > $out/nix-support/propagated-build-inputs; fi
if [ "$modulesOfTools" ]; then touch $out/nix-support/stub-modules-of-tools; fi
if [ "$setupHook" ]; then cp $setupHook $out/nix-support/setup-hook; fi
echo $pname > $out/nix-support/stub-pname
