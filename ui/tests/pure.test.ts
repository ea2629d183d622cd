import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createParser, type StreamEvent } from '../src/api/live/sse';
import { keysAbout } from '../src/api/keys';
import { Problem, toProblem } from '../src/api/problem';
import { cividis } from '../src/colours';
import { type Column, nextSort, parseSort, sortRows, sortText, toLines } from '../src/parts/table';
import { lengthOf, resolve } from '../src/range';
import { oneOf, parseSearch, range, stringifySearch, whole } from '../src/search';
import { matches, parseWish } from '../src/shell/wish';

test('a stream is read wherever it is cut', () => {
  const text = ': hello\nevent: ledger\nid: 7\ndata: {"seq":7,\ndata: "subjects":[]}\n\nevent: models\r\ndata: {}\r\n\r\n';
  for (let size = 1; size <= text.length; size += 1) {
    const told: StreamEvent[] = [];
    const feed = createParser((event) => told.push(event));
    for (let at = 0; at < text.length; at += size) feed(text.slice(at, at + size));
    assert.deepEqual(told, [
      { event: 'ledger', data: '{"seq":7,\n"subjects":[]}', id: '7' },
      { event: 'models', data: '{}', id: '7' },
    ], `pieces of ${size}`);
  }
});

test('an entry about a model refetches what is about it', () => {
  assert.deepEqual(keysAbout('default/churn'), [['model', 'default', 'churn']]);
  assert.deepEqual(keysAbout('default/churn@production'), [['model', 'default', 'churn']]);
  assert.ok(keysAbout('members').some(([area]) => area === 'access'));
});

test('whatever is thrown becomes a problem', () => {
  const told = toProblem({ code: 'no_such_model', error: 'there is no model `x`', help: 'decalog ls' }, 404);
  assert.deepEqual([told.status, told.code, told.message, told.help], [404, 'no_such_model', 'there is no model `x`', 'decalog ls']);
  assert.ok(told.isMissing);
  assert.ok(toProblem(new TypeError('fetch failed')).isUnreachable);
  assert.equal(toProblem(new Problem(401, {})).isStranger, true);
  assert.equal(toProblem(undefined, 502).message, 'the server answered with status 502');
});

test('a range is resolved', () => {
  const now = 10_000_000_000;
  assert.equal(lengthOf('15m'), 900_000);
  assert.equal(lengthOf('-1h'), null);
  assert.equal(lengthOf('0h'), null);
  assert.deepEqual(resolve({ since: '1h' }, now), { from: now - 3_600_000, to: now, live: true });
  assert.deepEqual(resolve({ from: 1, to: 2 }, now), { from: 1, to: 2, live: false });
  assert.deepEqual(resolve({ from: 5, to: 2, since: 'x' }, now, '24h'), { from: 5, to: now, live: true });
  assert.deepEqual(resolve({ since: 'x' }, now, '24h').from, now - 86_400_000);
});

test('an address says what it says and no more', () => {
  assert.equal(stringifySearch({ tab: 'data', from: 5, gone: undefined, off: false, none: '' }), '?tab=data&from=5');
  assert.equal(stringifySearch({}), '');
  assert.deepEqual(parseSearch('?version=12&q=a%20b'), { version: '12', q: 'a b' });
  assert.deepEqual(range({ since: 'soon', from: '12', to: 'x' }), { since: undefined, from: 12, to: undefined });
  assert.equal(whole('1e5'), undefined);
  assert.equal(oneOf('b', ['a', 'b']), 'b');
});

const columns: Column<{ n: number | null }>[] = [
  { id: 'n', title: 'n', width: 1, cell: () => null, sorts: 'down', by: (row) => row.n },
];

test('rows are sorted, with what is not known last', () => {
  const rows = [{ n: 1 }, { n: null }, { n: 3 }, { n: 2 }];
  const ns = (text: string) => sortRows(rows, columns, parseSort(text)).map((row) => row.n);
  assert.deepEqual(ns('n'), [1, 2, 3, null]);
  assert.deepEqual(ns('-n'), [3, 2, 1, null]);
  assert.deepEqual(sortText(nextSort(columns[0] as Column<{ n: number | null }>, undefined)), '-n');
  assert.deepEqual(sortText(nextSort(columns[0] as Column<{ n: number | null }>, { by: 'n', down: true })), 'n');
});

test('a title stands wherever the group changes', () => {
  const lines = toLines(['a1', 'a2', 'b1'], (row) => row.charAt(0));
  assert.deepEqual(lines.map((line) => (line.kind === 'group' ? `${line.title}:${line.size}` : line.row)), ['a:2', 'a1', 'a2', 'b:1', 'b1']);
  assert.equal(toLines(['a'], undefined).length, 1);
});

test('what somebody wants to find', () => {
  assert.deepEqual(parseWish('churn@v3'), { name: 'churn', version: 'v3' });
  assert.deepEqual(parseWish('Churn V3'), { name: 'churn', version: 'v3' });
  assert.equal(parseWish('decalog rollback churn').verb?.name, 'rollback');
  assert.equal(parseWish('rollback').verb, undefined);
  assert.ok(matches('default/churn', 'chu def'));
  assert.ok(!matches('default/churn', 'fraud'));
});

test('cividis goes from dark to light', () => {
  assert.equal(cividis(0), 'rgb(0 34 78)');
  assert.equal(cividis(2), 'rgb(254 232 56)');
});
