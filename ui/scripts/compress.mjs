// Compresses the built files once, so that the server sends them as they are.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const TEXTS = /\.(css|js|svg)$/;

for (const name of readdirSync('dist/assets').filter((name) => TEXTS.test(name))) {
  const path = join('dist/assets', name);
  const text = readFileSync(path);
  const options = { params: { [constants.BROTLI_PARAM_SIZE_HINT]: text.length } };
  writeFileSync(`${path}.br`, brotliCompressSync(text, options));
  writeFileSync(`${path}.gz`, gzipSync(text, { level: 9 }));
}
