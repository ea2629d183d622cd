import { Group, SegmentedControl, Select, TextInput } from '@mantine/core';
import { useMemo, useState } from 'react';
import type { Schema } from '../../../api/client';
import { ActionButton } from '../../../parts/ActionButton';
import { Confirm } from '../../../parts/Confirm';
import { lengthOf } from '../../../range';
import { useActs } from './act';
import { planArguments, readPlan, readShares, USUAL, type Wish } from './plan';
import { inEnvironment, nameOf } from './words';

/** Takes a version live in an environment, all at once or step by step. */
export function ReleaseButton({ project, model, environment, view, version: { version } }: {
  project: string;
  model: string;
  environment: string;
  view: Schema<'ModelView'>;
  version: Schema<'VersionView'>;
}) {
  const [asks, setAsks] = useState(false);
  const [to, setTo] = useState(environment);
  const [wish, setWish] = useState<Wish>(USUAL);
  const { release } = useActs(project, model);
  const places = useMemo(() => [...new Set([environment, ...view.live.map(([name]) => name), 'production', 'staging'])], [environment, view.live]);
  const name = nameOf(project, model);
  const live = view.live.find(([place]) => place === to)?.[1];
  // Where nothing else is live there is nobody to share the traffic with.
  const mayShare = live !== undefined && live !== version;
  const isGradual = wish.gradual && mayShare;
  const plan = isGradual ? readPlan(wish) : null;
  const open = () => {
    setTo(environment);
    setAsks(true);
  };
  return (
    <>
      <ActionButton action="release" object={`${project}/${model}@${environment}`} variant="default" onAct={open} onPropose={open}>
        {`Release ${version}…`}
      </ActionButton>
      <Confirm
        opened={asks} onClose={() => setAsks(false)} verb="Release" title={`Release ${name} ${version} in ${to}?`} disabled={isGradual && plan === null}
        command={`decalog release ${name}@${version}${inEnvironment(to)}${isGradual ? planArguments(wish) : ''}`} onConfirm={() => release(version, to, plan)}
      >
        <Select label="Environment" data={places} value={to} allowDeselect={false} onChange={(place) => place && setTo(place)} />
        {mayShare && (
          <SegmentedControl
            aria-label="How it takes over" fullWidth value={isGradual ? 'gradual' : 'once'} onChange={(how) => setWish({ ...wish, gradual: how === 'gradual' })}
            data={[{ value: 'once', label: 'All at once' }, { value: 'gradual', label: 'Step by step' }]}
          />
        )}
        {isGradual && <Gradual wish={wish} onChange={setWish} />}
        <div>
          {live === undefined && `Nothing is live in ${to} yet. `}
          {live === version && `${version} is live there already; it is started anew with the variables of now. `}
          {mayShare && !isGradual && `All requests go from ${live} to ${version} once it is built, tested and ready. ${live} keeps serving until then. `}
          {isGradual && `${version} gets more of the traffic step by step, as long as it keeps its guards. As soon as there is evidence against it, ${live} gets all of it again.`}
        </div>
      </Confirm>
    </>
  );
}

function Gradual({ wish, onChange }: { wish: Wish; onChange: (wish: Wish) => void }) {
  return (
    <>
      <Group grow gap="sm" align="start">
        <TextInput
          label="Shares of the traffic, in percent" value={wish.shares} error={readShares(wish.shares) === null ? 'Whole numbers that rise' : undefined}
          onChange={(event) => onChange({ ...wish, shares: event.currentTarget.value })}
        />
        <TextInput
          label="Each for at least" value={wish.every} error={lengthOf(wish.every.replaceAll(' ', '')) === null ? 'Such as 30s or 2m' : undefined}
          onChange={(event) => onChange({ ...wish, every: event.currentTarget.value })}
        />
      </Group>
      <TextInput
        label="Guards" placeholder="errors<baseline+0.5%, p95<1.2x" description="Without any, these two" value={wish.guards} spellCheck={false}
        onChange={(event) => onChange({ ...wish, guards: event.currentTarget.value })}
      />
    </>
  );
}
