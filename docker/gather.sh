#!/bin/sh
# Programs of this image with everything that they link to, the loader included, so that they run in an image of any other: gather.sh FOLDER NAME...
# FOLDER/bin/NAME starts a program wherever FOLDER was copied to.
set -e
to=$1
shift
mkdir -p "$to/bin" "$to/lib" "$to/programs"
for name; do
    program=$(ls /usr/lib/postgresql/*/bin/"$name" 2>/dev/null || command -v "$name") # Debian's /usr/bin/pg_dump is a script of Perl
    cp -L "$program" "$to/programs/$name"
    ldd "$program" | grep -o '/[^ ]*' | xargs -I '{}' cp -Lu '{}' "$to/lib/"
    cat >"$to/bin/$name" <<'RUN'
#!/bin/sh
here=$(dirname "$(dirname "$0")")
exec "$here"/lib/ld-linux* --library-path "$here/lib" "$here/programs/$(basename "$0")" "$@"
RUN
    chmod 755 "$to/bin/$name"
done
