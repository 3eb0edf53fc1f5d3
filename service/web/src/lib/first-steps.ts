/** What a training needs to find this service: nothing on the same machine, two variables elsewhere. Pure. */

/** True where the page's own address says that only this machine reaches the service. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname.endsWith(".localhost") || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
}

/** Lines for the shell that starts the training; the token is a secret, which no page shows. */
export function environmentLines(origin: string, token: string): string[] {
  return [`export GRADVITALS_URL=${origin}`, `export GRADVITALS_TOKEN=${token}`];
}
