#!/usr/bin/env bash
# Installs attnscope, its samples, man page and completions under a prefix, and takes them away again.
#
#   samples/install.sh [--prefix DIR] [--from BINARY]
#   samples/install.sh [--prefix DIR] --uninstall
#
# Without --prefix it is ~/.local, for root /usr/local; without --from a release is built first, in .build-install.
# What was installed stands in PREFIX/share/attnscope/installed.txt, and --uninstall removes that and nothing else.
set -euo pipefail
umask 022
unset CDPATH

say() { printf '%s\n' "$*"; }
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
misused() { printf 'install.sh: %s\n' "$*" >&2; usage >&2; exit 2; }

prefix=
binary=
uninstall=
while [ $# -gt 0 ]; do
  case $1 in
    --prefix | --from)
      [ -n "${2-}" ] || misused "$1 needs a value"
      case $1 in --prefix) prefix=$2 ;; *) binary=$2 ;; esac
      shift 2 ;;
    --prefix=?*) prefix=${1#*=}; shift ;;
    --from=?*) binary=${1#*=}; shift ;;
    --uninstall) uninstall=yes; shift ;;
    -h | --help) usage; exit 0 ;;
    *) misused "there is no option $1" ;;
  esac
done
[ -z "$uninstall" ] || [ -z "$binary" ] || misused "--from says what to install; --uninstall does not need it"

samples=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P) || fail "the folder of this script cannot be entered"
if [ -z "$prefix" ]; then
  if [ "$(id -u)" = 0 ]; then
    prefix=/usr/local
  else
    [ -n "${HOME-}" ] || fail "HOME is not set; name a folder with --prefix"
    prefix=$HOME/.local
  fi
fi
case $prefix in *$'\n'*) fail "a prefix cannot have a line break in its name" ;; esac
# shellcheck disable=SC2088 # a tilde that the shell left alone, as in --prefix=~/here
case $prefix in
  /*) ;;
  '~/'*) prefix=${HOME:?}/${prefix#'~/'} ;;
  *) prefix=$PWD/$prefix ;;
esac
manifest=share/attnscope/installed.txt  # beneath the prefix, like every path in it
heading="# Installed by attnscope's samples/install.sh; --uninstall removes exactly these. F is a file, D a folder it made."

# Sets prefix (without detours) and root (without links too).
enter_prefix() {
  prefix=$(cd "$prefix" && pwd) || fail "the prefix cannot be entered (see above); choose another with --prefix"
  root=$(cd "$prefix" && pwd -P)
}

# Checks a manifest whole before anything is touched: every line is F or D and a plain path beneath the prefix, and no
# folder on the way is a link that leads out of it.
check_manifest() {
  local line path folder inside
  [ "$(head -n 1 "$1")" = "$heading" ] || fail "$1 is not a manifest of this script; nothing was changed"
  while IFS= read -r line || [ -n "$line" ]; do
    [ "$line" != "D ." ] || continue  # the prefix itself
    path=${line#??}
    case $line in "F "?* | "D "?*) ;; *) fail "$1 has a line that is no entry: $line; nothing was changed" ;; esac
    case /$path/ in
      */../* | */./* | *//*) fail "$1 names a path outside the prefix: $path; nothing was changed" ;;
    esac
    folder=$(dirname "$prefix/$path")
    while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
    inside=$(cd "$folder" && pwd -P) || fail "the folder $folder cannot be entered; nothing was changed"
    case $inside/ in
      "${root%/}"/*) ;;
      *) fail "$folder is a link that leads out of $prefix, to $inside; choose another --prefix; nothing was changed" ;;
    esac
  done < <(tail -n +2 "$1")
}

remove_listed() {
  local line failed=
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
      F\ *)
        [ -e "$prefix/${line#F }" ] || [ -L "$prefix/${line#F }" ] || continue
        rm -f -- "$prefix/${line#F }" || failed=yes ;;
    esac
  done < "$1"
  [ -z "$failed" ] || fail "not everything could be removed (see above); as the owner of $prefix run --uninstall again"
}

# Folders the installation made, the deepest first, if they are empty now; others' files keep theirs.
remove_folders() {
  local folder
  while IFS= read -r folder; do
    case $folder in
      '') ;;
      .) rmdir -- "$prefix" 2> /dev/null || true ;;
      *) rmdir -- "$prefix/$folder" 2> /dev/null || true ;;
    esac
  done
}

if [ -n "$uninstall" ]; then
  [ -d "$prefix" ] || fail "there is no folder $prefix; name the one it was installed to with --prefix"
  enter_prefix
  [ -f "$prefix/$manifest" ] ||
    fail "there is no $prefix/$manifest, so nothing is known to be installed here; name the right --prefix"
  [ ! -L "$prefix/$manifest" ] || fail "$prefix/$manifest is a link, which this script does not make; nothing was removed"
  [ -w "$(dirname "$prefix/$manifest")" ] || fail "$prefix/share/attnscope cannot be written; run this as its owner (sudo?)"
  check_manifest "$prefix/$manifest"
  folders=$(sed -n 's/^D //p' "$prefix/$manifest" | LC_ALL=C sort -r)
  remove_listed "$prefix/$manifest"
  rm -f -- "$prefix/$manifest"
  remove_folders <<< "$folders"
  say "attnscope was removed from $prefix."
  exit 0
fi

# The program: given, or built here. Static where the archives are, so that it runs where the libraries are not.
if [ -z "$binary" ]; then
  checkout=$(dirname "$samples")
  [ -f "$checkout/Package.swift" ] || fail "$checkout is no checkout of attnscope; name a program with --from BINARY"
  command -v swift > /dev/null || fail "swift is not in PATH; install a Swift 6.1 toolchain or later, or use --from BINARY"
  build=(swift build -c release --product attnscope --scratch-path .build-install)
  cd "$checkout"
  if ! ATTNSCOPE_STATIC=1 "${build[@]}" --static-swift-stdlib >&2; then
    say "The static build failed (see above); trying with the system's shared libraries." >&2
    if ! "${build[@]}" --static-swift-stdlib >&2; then
      say "That failed too; trying with the shared libraries of Swift, which then must stay where they are." >&2
      "${build[@]}" >&2 ||
        fail "the build failed (see above); on Debian or Ubuntu: apt-get install libncurses-dev zlib1g-dev"
    fi
  fi
  binary=$("${build[@]}" --show-bin-path)/attnscope
fi
[ -f "$binary" ] || fail "there is no file $binary; name the program with --from BINARY"
[ -x "$binary" ] || fail "$binary cannot be run; make it executable (chmod +x) or name another with --from BINARY"
case $binary in /*) ;; *) binary=$PWD/$binary ;; esac

# Everything is prepared here before the first file of the prefix changes.
work=$(mktemp -d "${TMPDIR:-/tmp}/attnscope-install.XXXXXX")
part=
trap 'rm -rf -- "$work"; [ -z "$part" ] || rm -f -- "$part"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
made() { # FILE ARGUMENTS...: what the program prints about itself
  local file=$work/$1
  shift
  "$binary" "$@" < /dev/null > "$file" || fail "'$binary $*' failed; is this attnscope, of this version?"
  [ -s "$file" ] || fail "'$binary $*' printed nothing; is this attnscope, of this version?"
}
made man man
made bash completions bash
made zsh completions zsh
made fish completions fish

# The plan, one a line: mode, source, target beneath the prefix.
plan=("755" "$binary" bin/attnscope)
find_samples() {
  cd "$samples"
  find . \( -name '.?*' -o -name __pycache__ \) -prune -o -type f ! -name '*.pyc' ! -name '*~' ! -name '*.part' \
    \( -path './lessons/*' -o -path './bench/*' -o -path './export/*' -o -name get-model.sh -o ! -path './*/*' \
    \( -name '*.safetensors' -o -name '*.txt' -o -name '*.csv' -o -name '*.md' \) \) -print | sed 's|^\./||'
}
(find_samples) | LC_ALL=C sort > "$work/samples"
# In a git checkout only what git knows: no dumps that lie about.
if git -C "$samples" -c core.quotePath=false ls-files > "$work/known" 2> /dev/null && [ -s "$work/known" ]; then
  grep -xFf "$work/known" "$work/samples" > "$work/both" || true
  mv -- "$work/both" "$work/samples"
fi
[ -s "$work/samples" ] || fail "there are no samples in $samples; run the install.sh of a whole checkout"
while IFS= read -r file; do
  mode=644
  [ ! -x "$samples/$file" ] || mode=755
  plan+=("$mode" "$samples/$file" "share/attnscope/samples/$file")
done < "$work/samples"
plan+=("644" "$work/man" share/man/man1/attnscope.1)
plan+=("644" "$work/bash" share/bash-completion/completions/attnscope)
plan+=("644" "$work/zsh" share/zsh/site-functions/_attnscope)
plan+=("644" "$work/fish" share/fish/vendor_completions.d/attnscope.fish)

# What the prefix has of an earlier installation, and which folders are missing: those are ours, then and now.
made_prefix=
[ -d "$prefix" ] || made_prefix="D ."
mkdir -p -- "$prefix" 2> /dev/null || fail "the folder $prefix cannot be made; choose another with --prefix, or use sudo"
enter_prefix
old=$prefix/$manifest
: > "$work/earlier"
if [ -e "$old" ] || [ -L "$old" ]; then
  if [ ! -f "$old" ] || [ -L "$old" ]; then fail "$old is not a plain file; move it away first"; fi
  check_manifest "$old"
  tail -n +2 "$old" > "$work/earlier"
fi
missing() { # a folder beneath the prefix, and those above it, where they do not exist
  [ -d "$prefix/$1" ] || { missing "$(dirname "$1")"; say "D $1"; }
}
{
  [ -z "$made_prefix" ] || say "$made_prefix"
  grep '^D ' "$work/earlier" || true
  for ((i = 2; i < ${#plan[@]}; i += 3)); do missing "$(dirname "${plan[i]}")"; done
} | LC_ALL=C sort -u > "$work/folders"
{
  say "$heading"
  cat "$work/folders"
  for ((i = 2; i < ${#plan[@]}; i += 3)); do say "F ${plan[i]}"; done
} > "$work/manifest"
check_manifest "$work/manifest"
for ((i = 2; i < ${#plan[@]}; i += 3)); do
  [ ! -d "$prefix/${plan[i]}" ] || fail "$prefix/${plan[i]} is a folder; move it away first; nothing was changed"
done

put() { # MODE SOURCE TARGET: a copy under a temporary name, renamed when it is whole
  local target=$prefix/$3
  mkdir -p -- "$(dirname "$target")" || fail "the folder of $target cannot be made; choose another --prefix, or use sudo"
  part=$(dirname "$target")/.attnscope-install.$$
  if ! { cp -- "$2" "$part" && chmod "$1" -- "$part" && mv -f -- "$part" "$target"; }; then
    fail "$target cannot be written (see above); choose another --prefix, make room, or use sudo"
  fi
  part=
}

# The manifest comes first, with what the earlier one lists, so that whatever happens --uninstall finds everything.
grep '^F ' "$work/earlier" | grep -vxFf "$work/manifest" > "$work/stale" || true
cat "$work/manifest" "$work/stale" > "$work/both"
put 644 "$work/both" "$manifest"
for ((i = 0; i < ${#plan[@]}; i += 3)); do put "${plan[i]}" "${plan[i + 1]}" "${plan[i + 2]}"; done
remove_listed "$work/stale"  # what the earlier version had and this one has not
put 644 "$work/manifest" "$manifest"

say "attnscope is installed:"
say "  program      $prefix/bin/attnscope"
say "  samples      $prefix/share/attnscope/samples"
say "  man page     $prefix/share/man/man1/attnscope.1"
say "  completions  of bash, zsh and fish under $prefix/share (zsh: share/zsh/site-functions must be in fpath)"
case ":$PATH:" in
  *":$prefix/bin:"*) say "$prefix/bin is in PATH: attnscope opens the bundled sample." ;;
  *) say "$prefix/bin is not in PATH; add it: export PATH=\"$prefix/bin:\$PATH\"" ;;
esac
say "To take it away: $(printf %q "$samples/install.sh") --prefix $(printf %q "$prefix") --uninstall"
