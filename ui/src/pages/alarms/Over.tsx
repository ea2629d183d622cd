import { Button, Group } from '@mantine/core';
import { countOf, span } from '../../format';
import { type Column, DataTable } from '../../parts/DataTable';
import { Empty } from '../../parts/Notices';
import { SeverityState } from '../../parts/State';
import { Time } from '../../parts/Time';
import type { Alarm } from './api';
import { ModelName, Where } from './where';
import { kindTitle, modelOf } from './words';

const PAGE = 12;

const COLUMNS: readonly Column<Alarm>[] = [
  { id: 'severity', title: 'Severity', width: 90, cell: (alarm) => <SeverityState severity={alarm.severity} plain /> },
  { id: 'model', title: 'Model', width: 150, grow: 1, from: 520, cell: (alarm) => <ModelName model={modelOf(alarm)} environment={alarm.environment} /> },
  { id: 'what', title: 'What was so', width: 130, grow: 3, cell: (alarm) => <span title={`${kindTitle(alarm.kind)}: ${alarm.what}`}>{alarm.what}</span> },
  { id: 'since', title: 'Began', width: 90, from: 700, cell: (alarm) => <Time at={alarm.since_ms} /> },
  { id: 'lasted', title: 'Lasted', width: 80, align: 'right', hint: 'From its beginning by the best estimate to its end', cell: (alarm) => <span className="num">{span((alarm.resolved_at_ms ?? alarm.updated_at_ms) - alarm.since_ms)}</span> },
  { id: 'where', title: 'Shown by', width: 134, from: 620, cell: (alarm) => <Where alarm={alarm} /> },
];

/** Alarms that are over, the last ones first, a page at a time. */
export function Over({ alarms, page: wanted, onPage }: { alarms: readonly Alarm[]; page: number; onPage: (page: number) => void }) {
  const pages = Math.max(1, Math.ceil(alarms.length / PAGE));
  const page = Math.max(0, Math.min(wanted, pages) - 1);
  return (
    <section className="alarm-section">
      <h2>Over <span className="dim num">{alarms.length > 0 && `the last ${alarms.length}`}</span></h2>
      <DataTable
        label={`${countOf(alarms.length, 'alarm')} that are over`} rows={alarms.slice(page * PAGE, (page + 1) * PAGE)} columns={COLUMNS}
        rowKey={(alarm) => alarm.id} empty={<Empty icon="check" title="None is over" />}
      />
      {pages > 1 && (
        <Group gap="xs" mt={8}>
          <Button variant="default" disabled={page === 0} onClick={() => onPage(page)}>Newer</Button>
          <Button variant="default" disabled={page === pages - 1} onClick={() => onPage(page + 2)}>Older</Button>
          <span className="dim num">Page {page + 1} of {pages}</span>
        </Group>
      )}
    </section>
  );
}
