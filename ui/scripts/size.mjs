// Fails if the scripts that every page loads are larger than the budget, compressed as they are sent.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const BUDGET_KB = 280;

const html = readFileSync('dist/index.html', 'utf8');
const scripts = [...html.matchAll(/(?:src|href)="\/?([^"]+\.js)"/g)].map((match) => match[1]);
const sizes = scripts.map((path) => [path, gzipSync(readFileSync(join('dist', path)), { level: 9 }).length / 1024]);
const total = sizes.reduce((sum, [, size]) => sum + size, 0);
for (const [path, size] of sizes) console.log(`${size.toFixed(1).padStart(7)} KB  ${path}`);
console.log(`${total.toFixed(1).padStart(7)} KB  in all, of ${BUDGET_KB} KB`);
if (scripts.length === 0 || total > BUDGET_KB) process.exitCode = 1;
