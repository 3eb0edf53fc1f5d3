/** Builds the page into the service's package. `npm run dev` serves it with made-up runs, or, with
 * GRADVITALS_URL=http://127.0.0.1:8765, against a real service. */
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";
import { fakeApi } from "./dev/fake-api.ts";

const service = process.env["GRADVITALS_URL"];

export default defineConfig({
  plugins: [svelte(), ...(service ? [] : [fakeApi()])],
  build: {
    outDir: "../src/gradvitals_service/static",
    emptyOutDir: true,
    target: "es2023",
    // a data: address would need its own line in the content security policy
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: service ? { proxy: { "/api": service, "/login": service } } : {},
  test: { include: ["src/**/*.test.ts"], environment: "node" },
});
