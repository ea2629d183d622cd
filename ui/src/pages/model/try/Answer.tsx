import { SegmentedControl } from '@mantine/core';
import { useMemo, useState } from 'react';
import { ms, NOTHING } from '../../../format';
import { Copy } from '../../../parts/Copy';
import { type Column, DataTable } from '../../../parts/DataTable';
import { Empty, Failed } from '../../../parts/Notices';
import { State } from '../../../parts/State';
import { bytesOf } from './bytes';
import type { Told } from './send';

/** What a model answered, and what the answer says of itself. */
export function Answer({ told, command, isStale }: { told: Told | null; command: string; isStale: boolean }) {
  const [as, setAs] = useState('table');
  const isGood = told?.problem === null;
  return (
    <div className="try-answer" aria-live="polite">
      <div className="try-facts">
        <h2>The answer</h2>
        {isGood && (
          <SegmentedControl
            className="try-as" aria-label="Show the answer as" value={as} onChange={setAs}
            data={[{ value: 'table', label: 'Table' }, { value: 'raw', label: 'Raw' }]}
          />
        )}
      </div>
      {told
        ? <Content told={told} as={as} isStale={isStale} />
        : <Empty icon="play" title="No answer yet" command={command}>Send the row, here or in a terminal.</Empty>}
    </div>
  );
}

function Content({ told, as, isStale }: { told: Told; as: string; isStale: boolean }) {
  const isGood = told.problem === null;
  return (
    <>
      <div className="try-facts">
        <State tone={isGood ? 'good' : 'bad'}>{told.status === 0 ? 'no answer' : `${told.status}${isGood ? '' : ` ${told.problem?.code ?? ''}`}`}</State>
        {told.version && <span className="num">{told.version}</span>}
        <Timing told={told} />
        {isStale && <span className="dim">of the row before your last change</span>}
      </div>
      {!isGood && <Failed problem={told.problem} doing />}
      {isGood && (as === 'raw' ? <Raw text={told.raw} /> : <Values told={told} />)}
      {told.requestId && (
        <div className="try-id dim small">Request <code>{told.requestId}</code><Copy text={told.requestId} label="Copy the id of the request" /></div>
      )}
    </>
  );
}

/** What the server measured; the way there and back is the rest. */
function Timing({ told: { timing, tookMs } }: { told: Told }) {
  const total = timing.find((one) => one.name === 'total');
  const parts = timing.filter((one) => one !== total).map((one) => `${one.name} ${ms(one.ms)}`);
  return (
    <span className="num">
      {total ? ms(total.ms) : ms(tookMs)}{' '}
      <span className="dim">{total ? `${parts.join(', ')}; ${ms(tookMs)} seen from here` : 'seen from here'}</span>
    </span>
  );
}

function Raw({ text }: { text: string }) {
  const shown = useMemo(() => {
    try {
      return text.length < 20_000 ? JSON.stringify(JSON.parse(text), null, 2) : text;
    } catch {
      return text;
    }
  }, [text]);
  return (
    <div className="try-block">
      <pre tabIndex={0} aria-label="The answer as it came">{shown}</pre>
      <Copy text={text} label="Copy the answer" />
    </div>
  );
}

interface Value {
  name: string;
  value: unknown;
}

const columns: Column<Value>[] = [
  { id: 'name', title: 'Output', width: 110, grow: 1, cell: (row) => <code>{row.name}</code> },
  { id: 'value', title: 'Value', width: 150, grow: 2, cell: (row) => <Shown value={row.value} /> },
];

/** Columns of one answer as lines; lists of numbers with a bar for each, as they are mostly shares of classes. */
function Values({ told }: { told: Told }) {
  const rows = useMemo(() => valuesOf(told), [told]);
  const isText = told.items !== null && told.items.every((item) => typeof item === 'string');
  if (isText) return <p className="try-stream">{told.items?.join(' ')}</p>;
  return <DataTable label="The answer" rows={rows} columns={columns} rowKey={(row) => row.name} maxHeight={360} empty={<Empty title="The answer has no columns" />} />;
}

const BARS_MAX = 64;

function valuesOf({ answer, items }: Told): Value[] {
  if (items) return items.map((value, index) => ({ name: String(index), value }));
  if (typeof answer !== 'object' || answer === null) return [{ name: 'output', value: answer }];
  return Object.entries(answer).flatMap(([name, value]: [string, unknown]): Value[] => {
    const isSmall = Array.isArray(value) && value.length <= BARS_MAX && value.every((one) => typeof one === 'number');
    return isSmall ? value.map((one: unknown, index) => ({ name: `${name}[${index}]`, value: one })) : [{ name, value }];
  });
}

/** Whole numbers as they are, others to five digits; the whole number on hover. */
function short(value: number): string {
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) < 1e-4 ? value.toExponential(2) : value.toPrecision(5);
}

/** Bytes that are no text: how many, and a file of them for whoever wants it. */
function Saved({ bytes }: { bytes: Uint8Array<ArrayBuffer> }) {
  const save = () => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([bytes]));
    link.download = 'answer';
    link.click();
    URL.revokeObjectURL(link.href);
  };
  return <span className="num">{bytes.length.toLocaleString('en')} bytes <button type="button" className="quiet-button" onClick={save}>Save</button></span>;
}

function Shown({ value }: { value: unknown }) {
  if (value === null || value === undefined) return <span className="dim">{value === null ? 'null' : NOTHING}</span>;
  const bytes = bytesOf(value);
  if (bytes) return <Saved bytes={bytes} />;
  if (typeof value !== 'number') return <span title={JSON.stringify(value).slice(0, 500)}>{typeof value === 'string' ? value : JSON.stringify(value)}</span>;
  const isShare = value >= 0 && value <= 1 && !Number.isInteger(value);
  return (
    <span className="try-number num" title={String(value)}>
      <span>{short(value)}</span>
      {isShare && <span className="try-bar" style={{ width: `${Math.round(value * 100)}px` }} aria-hidden="true" />}
    </span>
  );
}
