import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as format from '../src/format';
import { timeLabels } from '../src/parts/chart-axis';

function each<T>(call: (value: T) => string, cases: readonly (readonly [T, string])[]) {
  for (const [value, text] of cases) assert.equal(call(value), text, String(value));
}

test('numbers have three digits', () => {
  each(format.plain, [[0, '0'], [0.12345, '0.123'], [4.567, '4.57'], [78.94, '78.9'], [1234.4, '1,234'], [5_600_000, '5.6 M'], [2e9, '2 G'], [-12, '-12']]);
  each(format.count, [[0, '0'], [1234, '1,234'], [null, '–'], [undefined, '–'], [NaN, '–']]);
  assert.equal(format.countOf(1, 'model'), '1 model');
  assert.equal(format.countOf(3, 'entry', 'entries'), '3 entries');
});

test('rates and times have their unit', () => {
  each(format.rate, [[0, '0/s'], [0.001, '<0.01/s'], [0.25, '0.25/s'], [412.3, '412/s']]);
  each(format.ms, [[0, '0 ms'], [0.001, '<0.01 ms'], [0.42, '0.42 ms'], [7.91, '7.9 ms'], [99.4, '99 ms'], [312.4, '312 ms'], [1_340, '1.3 s'], [52_000, '52 s'], [240_000, '4 min']]);
  each(format.span, [[59_000, '59 s'], [7_500_000, '2 h 5 min'], [90_000_000, '1 d 1 h'], [864_000_000, '10 d']]);
});

test('sizes and shares', () => {
  each(format.bytes, [[0, '0 B'], [512, '512 B'], [1_234_567, '1.23 MB'], [999_900, '1 MB']]);
  each(format.share, [[0, '0%'], [0.000001, '<0.001%'], [0.0042, '0.42%'], [0.123, '12.3%'], [0.9999, '>99.9%'], [1, '100%'], [null, '–']]);
});

test('times', () => {
  const now = Date.UTC(2026, 2, 8, 13, 5, 10);
  each((at: number) => format.relative(at, now), [[now, 'just now'], [now - 5_000, '5 s ago'], [now + 180_000, 'in 3 min'], [now - 7_500_000, '2 h ago'], [now - 3 * 86_400_000, '3 d ago']]);
  assert.equal(format.moment(now, now), format.clock(now));
  assert.match(format.moment(now - 3 * 86_400_000, now), /^2026-03-05 \d\d:\d\d$/);
  assert.match(format.exact(now), /^2026-03-08 \d\d:\d\d:10\.000 \(UTC[+−]\d\d:\d\d\)$/);
});

test('the axis of time names the day where it begins', () => {
  const start = new Date(2026, 2, 8, 23, 0).getTime() / 1000;
  assert.deepEqual(timeLabels([start, start + 3600, start + 7200]), ['23:00', '9 Mar', '01:00']);
  assert.deepEqual(timeLabels([start, start + 10]), ['23:00:00', '23:00:10']);
});
