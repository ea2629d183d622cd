import { Button, Select, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { clock, day } from '../../../format';
import { Time } from '../../../parts/Time';
import { METRIC_TITLES, METRICS, type Metric } from './words';

const ANY = 'any';

/** Which number, and about when. It asks when it is told to, and never by itself. */
export function Ask({ at, metric, answeredAt, isAsking, onChange, onAgain }: {
  at: number | undefined;
  metric: Metric | undefined;
  answeredAt: number | undefined;
  isAsking: boolean;
  onChange: (change: { at?: number | undefined; metric?: Metric | undefined }) => void;
  onAgain: () => void;
}) {
  const shown = at === undefined ? '' : `${day(at)}T${clock(at).slice(0, 5)}`;
  const [draft, setDraft] = useState(shown);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const wanted = draft === '' ? undefined : new Date(draft).getTime();
    if (draft === shown || Number.isNaN(wanted)) onAgain();
    else onChange({ at: wanted });
  };
  return (
    <form className="why-ask" onSubmit={submit}>
      <Select
        aria-label="Which number" w={160} allowDeselect={false} value={metric ?? ANY}
        data={[{ value: ANY, label: 'Whichever changed' }, ...METRICS.map((value) => ({ value, label: METRIC_TITLES[value] }))]}
        onChange={(value) => onChange({ metric: value === ANY || value === null ? undefined : (value as Metric) })}
      />
      <TextInput type="datetime-local" aria-label="About when it changed; lately, if empty" value={draft} onChange={(event) => setDraft(event.currentTarget.value)} />
      <Button type="submit" variant="default" loading={isAsking}>{draft === shown ? 'Ask again' : 'Ask'}</Button>
      {at !== undefined && <Button variant="subtle" onClick={() => onChange({ at: undefined })}>Lately</Button>}
      {answeredAt !== undefined && <span className="dim">as of <Time at={answeredAt} as="moment" /></span>}
    </form>
  );
}
