import { useState } from 'react';
import type { Schema } from '../../../api/client';
import { type Column, DataTable } from '../../../parts/DataTable';
import { State } from '../../../parts/State';
import { Time } from '../../../parts/Time';
import type { TabProps } from '../tabs/props';
import { useRequested } from './api';
import { Ended, endedWords } from './Ended';
import { guardsOf } from './said';

type Attempt = Schema<'DeploymentView'>;

export function outcomeState(outcome: Schema<'Outcome'>, plain = false) {
  if (outcome === 'live') return <State tone="good" plain={plain}>went live</State>;
  if (outcome === 'running') return <State tone="busy" plain={plain}>on its way</State>;
  const { step, problem } = outcome.failed;
  return <State tone={step === 'aborted' ? 'quiet' : 'bad'} plain={plain} explain={problem.error}>{endedWords(step)}</State>;
}

function planWords(plan: Schema<'Plan'> | null | undefined): string {
  const parts = [
    plan?.cause === 'rollback' ? 'rollback' : plan?.cause === 'promote' ? 'promoted' : null,
    plan?.shadow ? `shadow ${plan.shadow}%` : null,
    plan?.canary && plan.canary.length > 0 ? `canary ${plan.canary.join(', ')}%` : null,
  ].filter((part) => part !== null);
  return parts.length > 0 ? parts.join(', ') : 'all at once';
}

/** The latest attempts to go live in this environment, the newest first. */
export function History({ project, model, environment, view }: TabProps) {
  const attempts = view.deployments.filter((attempt) => attempt.environment === environment).toReversed();
  const { data: requested } = useRequested(project, model, attempts.at(-1)?.deployment);
  const [selected, setSelected] = useState<number | null>(null);
  const chosen = attempts.find((attempt) => attempt.deployment === selected);
  const columns: Column<Attempt>[] = [
    { id: 'version', title: 'Version', width: 76, cell: (row) => <b>{row.version}</b> },
    { id: 'outcome', title: 'Outcome', width: 130, grow: 2, cell: (row) => outcomeState(row.outcome, true) },
    { id: 'how', title: 'How', width: 130, grow: 2, from: 560, cell: (row) => planWords(requested?.get(row.deployment)?.body.plan) },
    { id: 'actor', title: 'By', width: 120, grow: 2, from: 640, cell: (row) => <span title={requested?.get(row.deployment)?.actor}>{requested?.get(row.deployment)?.actor ?? '–'}</span> },
    { id: 'at', title: 'Requested', width: 110, align: 'right', cell: (row) => <Time at={requested?.get(row.deployment)?.at_ms} /> },
  ];
  return (
    <section className="release-section">
      <h2>History <span className="dim">of {environment}</span></h2>
      <DataTable
        label={`Attempts to go live in ${environment}`} rows={attempts} columns={columns} rowKey={(row) => String(row.deployment)} maxHeight={360}
        selected={selected === null ? undefined : String(selected)} onOpen={(row) => setSelected(row.deployment === selected ? null : row.deployment)}
      />
      {chosen && typeof chosen.outcome === 'object' && <Ended version={chosen.version} failed={chosen.outcome.failed} guards={guardsOf(requested?.get(chosen.deployment)?.body.plan)} />}
    </section>
  );
}
