import react from '@vitejs/plugin-react';
import { defineConfig, type Plugin } from 'vite';

const server = process.env.DECALOG_URL ?? 'http://127.0.0.1:8010';

/** Nothing is painted before the theme is known, so that a dark page does not flash white. */
const paintOnce: Plugin = {
  name: 'paint-once',
  transformIndexHtml: {
    order: 'post',
    handler: (html) => html.replace('<script type="module"', '<script type="module" blocking="render"'),
  },
};

export default defineConfig({
  plugins: [react(), paintOnce],
  build: {
    outDir: 'dist',
    assetsDir: 'assets',
    // An inlined file would be a data: address, which the policy allows for pictures alone.
    assetsInlineLimit: 0,
    target: 'es2022',
    chunkSizeWarningLimit: 1_000,
  },
  server: {
    proxy: Object.fromEntries(
      ['/v1', '/login', '/logout', '/openapi.json'].map((path) => [path, { target: server, changeOrigin: true }]),
    ),
  },
});
