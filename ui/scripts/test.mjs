// Bundles each test of pure modules with esbuild, and runs them with the test runner of Node.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';

const into = mkdtempSync(join(tmpdir(), 'decalog-ui-'));
const tests = readdirSync('tests').filter((name) => name.endsWith('.test.ts'));
try {
  await build({
    entryPoints: tests.map((name) => join('tests', name)),
    outdir: into,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'warning',
  });
  const files = tests.map((name) => join(into, name.replace(/\.ts$/, '.mjs')));
  const run = spawnSync(process.execPath, ['--test', ...files], { stdio: 'inherit' });
  process.exitCode = run.status ?? 1;
} finally {
  rmSync(into, { recursive: true, force: true });
}
