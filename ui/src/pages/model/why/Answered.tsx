import { Tooltip } from '@mantine/core';
import type { ReactNode } from 'react';
import { count, exact } from '../../../format';
import { Icon } from '../../../parts/Icon';
import { Empty } from '../../../parts/Notices';
import type { Why } from './api';
import { CauseItem } from './CauseItem';
import { RuledOut } from './RuledOut';
import { ShareChart } from './ShareChart';
import { basis, between, branches, looked, measureTitle, sentence, smallest, sure } from './words';

/** An answer, by what became of the question. `command` shows the records that there are. */
export function Answered({ why, command }: { why: Why; command: string }) {
  const seen = looked(why, Date.now());
  if (why.records === 0) {
    return (
      <Empty icon="table" title="There are no records of this time" command={command}>
        What a change comes from is found by comparing requests. From those of another time, or environment, it may be.
      </Empty>
    );
  }
  if (why.outcome === 'nothing') {
    const said = [smallest(why), `Looked at: ${seen}.`, why.next && `Next: ${why.next.says}.`];
    return <Empty icon="check" title={sentence(why.headline)} command={why.next?.command}>{said.filter(Boolean).join(' ')}</Empty>;
  }
  if (why.outcome === 'too_little') {
    return (
      <>
        <Empty icon="learning" title={sentence(why.headline)} command={command}>
          {`Looked at: ${seen}. There were ${count(why.quiet_points)} quiet moments before the change to compare with, which is too few.`}
        </Empty>
        <RuledOut told={why.told_out} />
      </>
    );
  }
  return <Explained why={why} seen={seen} />;
}

function Explained({ why, seen }: { why: Why; seen: string }) {
  const tree = branches(why.causes, why.told);
  return (
    <>
      <section className="why-what" aria-label="What changed">
        <h2>{sentence(why.headline)}</h2>
        <Sure why={why} seen={seen} />
        {why.chart && <ShareChart title={measureTitle(why.measure)} chart={why.chart} changedAt={why.changed_at} height={128} />}
      </section>
      <section aria-label="What it comes from">
        <h2>What it comes from</h2>
        <ol className="why-causes">{tree.map((branch) => <CauseItem key={branch.number} branch={branch} why={why} />)}</ol>
        <RuledOut told={why.told_out} />
      </section>
    </>
  );
}

/** When, how sure, and by how much of what. */
function Sure({ why, seen }: { why: Why; seen: string }) {
  const { word, explain } = sure(why.p);
  const n = basis(why);
  return (
    <p className="why-sure">
      {why.changed_at != null && (
        <Fact explain={`Most likely at ${exact(why.changed_at)}; with 95% confidence in this stretch.`}>
          <Icon name="events" size={13} /> {why.interval ? between(why.interval.from_ms, why.interval.to_ms, Date.now()) : between(why.changed_at, why.changed_at, Date.now())}
        </Fact>
      )}
      <Fact explain={explain}>{word}</Fact>
      {n && <Fact explain="Records after the change, against those before it. Of records that were sampled, each counts as often as it stands for; this is how many they are worth.">{n}</Fact>}
      <span>{seen}</span>
    </p>
  );
}

function Fact({ explain, children }: { explain: string; children: ReactNode }) {
  return <Tooltip label={explain}><span tabIndex={0} className="why-fact">{children}</span></Tooltip>;
}
