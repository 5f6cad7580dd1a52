/** The gateway that this page came from. A proxy may have put it below a path of its own, so no address is absolute. */
const GATEWAY = new URL('..', import.meta.url);

/** The address of one of its endpoints, such as `notify`; without a name, its own. */
export function gatewayAddress(endpoint = '') {
  return new URL(endpoint, GATEWAY);
}
