import { Button } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { getRouteApi } from '@tanstack/react-router';
import { type FormEvent, useMemo, useRef, useState } from 'react';
import type { Schema } from '../../../api/client';
import type { TabProps } from '../tabs/props';
import { referenceOf } from '../versions/words';
import { Answer } from './Answer';
import { Field } from './Field';
import { command } from './calls';
import { aboutColumns, fromAddress, type Texts, toAddress, toForm, toRow, usualTexts } from './row';
import { pathOf, send, type Told } from './send';
import { Snippets } from './Snippets';
import { Tries, type Try } from './Tries';

const route = getRouteApi('/models/$project/$model');
const TRIES_MAX = 12;

interface Props extends TabProps {
  live: string;
  schema: Schema<'Schema'>;
  lately: readonly Schema<'ColumnMetrics'>[];
}

export function TryForm({ project, model, environment, live, schema, lately }: Props) {
  const { row: shared } = route.useSearch();
  const columns = schema.inputs;
  const [usual] = useState(() => usualTexts(columns, lately, new Date()));
  const [texts, setTexts] = useState<Texts>(() => ({ ...usual, ...fromAddress(shared) }));
  const [asked, setAsked] = useState(false);
  const row = useMemo(() => toRow(columns, texts), [columns, texts]);
  // Of a row that is wrong there is no call: that of the last right one stays.
  const [right, setRight] = useState('{}');
  if (row.body !== null && row.body !== right) setRight(row.body);
  const form = useMemo(() => toForm(columns, texts), [columns, texts]);
  const share = useShare(usual);
  const reference = referenceOf(project, model, environment);
  const { told, tries, busy, ask, stop, show } = useTries(reference);
  const { byColumn } = useMemo(() => aboutColumns(columns, told?.body === row.body ? (told?.problem?.details ?? []) : []), [columns, told, row.body]);

  const change = (next: Texts) => {
    setTexts(next);
    share(next);
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setAsked(true);
    if (row.body !== null) void ask(row.body, texts);
  };
  // What is wrong with a field is said once it was touched or sent, not before.
  const errorOf = (name: string) => byColumn[name] ?? (asked || texts[name] !== usual[name] ? row.wrong[name] : undefined);

  return (
    <div className="try">
      <form className="try-form" onSubmit={submit} noValidate aria-label="A row">
        <div className="try-facts">
          <h2>A row</h2>
          <span className="dim">for {live} in {environment}</span>
          {toAddress(texts, usual) !== undefined && <button type="button" className="quiet-button try-reset" onClick={() => change(usual)}>Reset</button>}
        </div>
        <div className="try-fields">
          {columns.map((column) => (
            <Field key={column.name} column={column} value={texts[column.name] ?? ''} error={errorOf(column.name)} onChange={(text) => change({ ...texts, [column.name]: text })} />
          ))}
        </div>
        <div className="try-facts">
          <Button type="submit" loading={busy && !schema.streams} disabled={busy && schema.streams === true}>Send</Button>
          {busy && schema.streams && <Button variant="default" onClick={stop}>Stop</Button>}
          <span className="dim small">It counts as a request like any other.</span>
        </div>
      </form>
      <section className="try-result" aria-label="The answer">
        <Answer told={told} isStale={told !== null && told.body !== row.body} command={command({ reference, body: right, form })} />
        <Tries all={tries} onOpen={(one) => { setTexts(one.texts); share(one.texts); show(one.told); }} />
      </section>
      <Snippets call={{ path: pathOf(reference), reference, body: right, form, streams: schema.streams === true }} />
    </div>
  );
}

/** Keeps the row in the address, if it is short and not the one that everybody begins with. */
function useShare(usual: Texts) {
  const navigate = route.useNavigate();
  return useDebouncedCallback((texts: Texts) => {
    void navigate({ search: (all) => ({ ...all, row: toAddress(texts, usual) }), replace: true });
  }, 400);
}

function useTries(reference: string) {
  const [told, setTold] = useState<Told | null>(null);
  const [tries, setTries] = useState<readonly Try[]>([]);
  const [busy, setBusy] = useState(false);
  const running = useRef<AbortController | null>(null);
  const ask = async (body: string, texts: Texts) => {
    running.current?.abort();
    const control = new AbortController();
    running.current = control;
    setBusy(true);
    const last = await send(reference, body, control.signal, setTold);
    // A later one has taken its place.
    if (running.current !== control) return;
    setTold(last);
    setTries((all) => [{ told: last, texts }, ...all].slice(0, TRIES_MAX));
    setBusy(false);
  };
  return { told, tries, busy, ask, stop: () => running.current?.abort(), show: setTold };
}
