/** Builds the page into the service's package. `npm run dev` serves its sources in front of the service at GRADVITALS_URL. */
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

const service = process.env["GRADVITALS_URL"] ?? "http://127.0.0.1:8765";

export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: "../src/gradvitals_service/static",
    emptyOutDir: true,
    target: "es2023",
    // a data: address would need its own line in the content security policy
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/api": service, "/login": service } },
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
