/** TypeScript from an OpenAPI description. */
import openapi, { astToString } from "openapi-typescript";

const NOTE = "/** Made by `npm run types` from the service's OpenAPI description. Never edited by hand. */\n\n";

/**
 * @param {string} description
 * @returns {Promise<string>}
 */
export async function typesFrom(description) {
  return NOTE + astToString(await openapi(description, { alphabetize: true, defaultNonNullable: false }));
}
