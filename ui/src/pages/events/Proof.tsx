import { Button } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import type { Schema } from '../../api/client';
import { useCan, useStatus } from '../../api/session';
import { count, countOf, ms } from '../../format';
import { Command } from '../../parts/Command';
import { Copy } from '../../parts/Copy';
import { type Column, DataTable } from '../../parts/DataTable';
import { Empty, Failed, NotAllowed } from '../../parts/Notices';
import { State } from '../../parts/State';
import { Time } from '../../parts/Time';
import { newestCheckpoint, useCheckpoints, verifyLedger } from './api';

type Checkpoint = Schema<'CheckpointListed'>;

/** Whether the ledger is whole, and what to keep elsewhere to be able to tell later. */
export function Proof() {
  const { data: verdict } = useCan('audit', '*');
  if (verdict && !verdict.allowed) return <NotAllowed says={verdict.says} />;
  return (
    <div className="proof">
      <Chain />
      <Newest />
      <Checkpoints />
    </div>
  );
}

function Chain() {
  const { data: status } = useStatus();
  const verify = useMutation({ mutationFn: async () => {
    const began = performance.now();
    return { ...(await verifyLedger()), tookMs: performance.now() - began };
  } });
  const entries = status?.ledger.entries;
  return (
    <section>
      <h2>Is it whole?</h2>
      <p className="dim">Each entry holds the hash of the one before. This reads {entries ? `all ${countOf(entries, 'entry', 'entries')}` : 'all of them'} and computes every hash again.</p>
      <div className="proof-act">
        <Button variant="default" loading={verify.isPending} onClick={() => verify.mutate()}>Verify the ledger</Button>
        <Command>decalog ledger verify</Command>
      </div>
      <div aria-live="polite">
        {verify.data && (
          <p className="proof-result">
            <State tone="good">whole</State>
            <span>All {countOf(verify.data.entries, 'entry', 'entries')} are as they were written, and so is the tree over them. It took {ms(verify.data.tookMs)}.</span>
            <span className="dim">Head <code className="hash">{verify.data.head}</code><Copy text={verify.data.head} label="Copy the head" /></span>
          </p>
        )}
      </div>
      {verify.error && <Failed problem={verify.error} doing />}
    </section>
  );
}

function Newest() {
  const newest = useMutation({ mutationFn: newestCheckpoint });
  return (
    <section>
      <h2>Keep a checkpoint</h2>
      <p className="dim">
        Whoever can write the disk can write all of the ledger anew. A checkpoint that is kept elsewhere, on paper or under version control, shows that they did.
      </p>
      <div className="proof-act">
        <Button variant="default" loading={newest.isPending} onClick={() => newest.mutate()}>Show the newest</Button>
        <Command>{'decalog audit checkpoint > ledger.checkpoint'}</Command>
      </div>
      {newest.data && (
        <div className="event-json"><pre tabIndex={0} aria-label="The newest checkpoint">{newest.data}</pre><Copy text={newest.data} label="Copy the checkpoint" /></div>
      )}
      {newest.error && <Failed problem={newest.error} doing />}
    </section>
  );
}

const COLUMNS: readonly Column<Checkpoint>[] = [
  { id: 'at', title: 'Signed', width: 150, cell: (one) => <Time at={one.at_ms} as="moment" /> },
  { id: 'size', title: 'Entries', width: 90, align: 'right', cell: (one) => <span className="num">{count(one.size)}</span> },
  { id: 'root', title: 'Root', width: 90, grow: 1, hint: 'Of the tree over the entries; it changes with any of them', cell: (one) => <code>{one.note.split('\n')[2] ?? ''}</code> },
  { id: 'copy', title: 'Copy', width: 56, cell: (one) => <Copy text={one.note} label={`Copy checkpoint ${one.number}`} /> },
];

function Checkpoints() {
  const { data, error, refetch } = useCheckpoints();
  return (
    <section>
      <h2>Checkpoints that were signed {data && <span className="dim num">{data.length}</span>}</h2>
      {error && !data ? <Failed problem={error} onRetry={() => void refetch()} /> : (
        <DataTable
          label="Checkpoints" rows={data ?? []} loading={!data} columns={COLUMNS} rowKey={(one) => String(one.number)} maxHeight={320}
          empty={<Empty title="None was signed yet" command="decalog audit checkpoint" />}
        />
      )}
    </section>
  );
}
