/** The engine's addresses: abstract UNIX names, which belong to the network namespace and are never stale. */

/** The part of the names that identifies an engine, `<uid>-<name>`: also ZSTACK_ENGINE of a wrapped program. */
export function engineIdentity(name: string, uid = process.getuid?.() ?? 0): string {
  return `${uid}-${name}`;
}

/** The size of `sun_path`: an abstract name has a length, up to this. */
const SUN_PATH_SIZE = 108;

/**
 * The abstract name of the administration socket, filled up with NULs to the size of `sun_path`: Node 20 passes every
 * name to the kernel at that length, so that is the length the engine binds.
 */
export function adminAddress(name: string, uid?: number): string {
  return `\0zstack-${engineIdentity(name, uid)}-admin`.padEnd(SUN_PATH_SIZE, '\0');
}

/** The name of the control socket as /proc/net/unix writes it. Who binds it is the engine. */
export function controlProcName(name: string, uid?: number): string {
  return `@zstack-${engineIdentity(name, uid)}`;
}

/** The name as /proc/net/unix writes it, with `@` for NUL. */
export function adminProcName(name: string, uid?: number): string {
  return adminAddress(name, uid).replaceAll('\0', '@');
}
