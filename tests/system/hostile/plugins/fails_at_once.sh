#!/bin/sh
echo "libfoo.so.3: cannot open shared object file" >&2
exit 127
