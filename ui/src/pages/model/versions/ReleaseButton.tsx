import { Select } from '@mantine/core';
import { useMemo, useState } from 'react';
import type { Schema } from '../../../api/client';
import { ActionButton } from '../../../parts/ActionButton';
import { Confirm } from '../../../parts/Confirm';
import { useActs } from './act';
import { inEnvironment, nameOf } from './words';

/** Takes a version live in an environment, all at once. Step by step is done at the tab of releases. */
export function ReleaseButton({ project, model, environment, view, version: { version } }: {
  project: string;
  model: string;
  environment: string;
  view: Schema<'ModelView'>;
  version: Schema<'VersionView'>;
}) {
  const [asks, setAsks] = useState(false);
  const [to, setTo] = useState(environment);
  const { release } = useActs(project, model);
  const places = useMemo(() => [...new Set([environment, ...view.live.map(([name]) => name), 'production', 'staging'])], [environment, view.live]);
  const name = nameOf(project, model);
  const live = view.live.find(([place]) => place === to)?.[1];
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
        opened={asks} onClose={() => setAsks(false)} verb="Release" title={`Release ${name} ${version} in ${to}?`}
        command={`decalog release ${name}@${version}${inEnvironment(to)}`} onConfirm={() => release(version, to)}
      >
        <Select label="Environment" data={places} value={to} allowDeselect={false} onChange={(place) => place && setTo(place)} />
        <div>
          {live === undefined && `Nothing is live in ${to} yet. `}
          {live === version && `${version} is live there already; it is started anew with the variables of now. `}
          {live !== undefined && live !== version && `All requests go from ${live} to ${version} once it is built, tested and ready. ${live} keeps serving until then. `}
        </div>
      </Confirm>
    </>
  );
}
