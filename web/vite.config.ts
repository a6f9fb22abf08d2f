import { defineConfig } from "vitest/config";

// One script of its own: the page inlines it, and its hash is the content security policy.
export default defineConfig({
  build: {
    lib: { entry: "src/main.ts", formats: ["iife"], name: "circuitflowPage", fileName: () => "page.js" },
    outDir: "../circuitflow/pictures",
    emptyOutDir: false,
    target: "es2022",
    minify: true,
  },
  test: { include: ["test/**/*.test.ts"] },
});
