#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# npm test: installs and builds what is missing, runs the native tests and the Jest projects, prints the sum.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd) || exit 1
if ! sh "$root/ts-launcher/scripts/bootstrap.sh" test; then
	echo '0 passed, 1 failed, 0 skipped'
	exit 1
fi
# As a terminal has them: a test runner in the background may have been given signals to ignore, and tests send signals.
exec env --default-signal node "$root/ts-launcher/dist/tools/run-tests.js" "$@"
