import { Menu, Button } from '@mantine/core';
import { useState } from 'react';
import { ActionButton } from '../../../parts/ActionButton';
import { Confirm } from '../../../parts/Confirm';
import { Icon } from '../../../parts/Icon';
import type { TabProps } from '../tabs/props';
import type { Release, Steering } from './api';

interface Asked {
  title: string;
  text: string;
  command: string;
  verb: string;
  danger?: boolean;
  act: () => Promise<unknown>;
}

/** What can be done with the release now. Each asks first, and says what follows. */
export function Controls({ project, model, environment, view, release, steering }: TabProps & { release: Release; steering: Steering }) {
  const [asked, setAsked] = useState<Asked | null>(null);
  const [opened, setOpened] = useState(false);
  const ask = (what: Asked) => {
    setAsked(what);
    setOpened(true);
  };
  const whom = `${project}/${model}`;
  const where = `${whom}@${environment}`;
  const env = environment === 'production' ? '' : ` --env ${environment}`;
  const named = project === 'default' ? model : whom;
  const base = `v${release.progress?.baseline ?? ''}`;
  const isPaused = release.progress?.paused ?? false;
  const isRunning = release.outcome === 'running';
  const live = view.live.find(([name]) => name === environment)?.[1];
  const others = [...new Set(['production', 'staging', ...view.live.map(([name]) => name)])].filter((name) => name !== environment);

  const pause: Asked = isPaused
    ? { title: `Resume the release of ${whom} ${release.version}?`, text: 'It goes on from where it is, once its guards are kept.', command: `decalog release resume ${named}${env}`, verb: 'Resume', act: () => steering.act('resume') }
    : { title: `Pause the release of ${whom} ${release.version}?`, text: `${release.version} keeps the share that it has until somebody resumes. Guards still roll it back.`, command: `decalog release pause ${named}${env}`, verb: 'Pause', act: () => steering.act('pause') };
  const abort: Asked = {
    title: `Abort the release of ${whom} ${release.version} in ${environment}?`,
    text: release.progress ? `All traffic goes back to ${base} at once. No request fails.` : 'It ends before it takes any traffic.',
    command: `decalog release abort ${named}${env}`, verb: `Abort ${release.version}`, danger: true, act: () => steering.act('abort'),
  };
  const rollBack: Asked = {
    title: `Roll back ${whom} in ${environment}?`,
    text: `${live ?? release.version} is replaced by the version that was live before it. Requests in flight finish where they are.`,
    command: `decalog rollback ${named}${env}`, verb: 'Roll back', danger: true, act: () => steering.rollBack(),
  };
  const promote = (to: string): Asked => ({
    title: `Promote ${whom} ${live} from ${environment} to ${to}?`,
    text: `${live} takes all traffic of ${to} once it is started and tested there. Nothing is rebuilt.`,
    command: `decalog promote ${named} ${environment} ${to}`, verb: `Promote ${live}`, act: () => steering.release(live ?? '', to),
  });

  return (
    <div className="release-controls">
      {isRunning ? (
        <>
          {release.progress && <ActionButton action="steer" object={where} variant="default" leftSection={<Icon name={isPaused ? 'play' : 'pause'} size={13} />} onAct={() => ask(pause)}>{isPaused ? 'Resume' : 'Pause'}</ActionButton>}
          <ActionButton action="steer" object={where} color="red.9" variant="outline" className="danger-outline" leftSection={<Icon name="cross" size={13} />} onAct={() => ask(abort)}>Abort</ActionButton>
        </>
      ) : live ? (
        <>
          <Menu position="bottom-end">
            <Menu.Target><Button variant="default" rightSection={<Icon name="down" size={13} />}>Promote {live}</Button></Menu.Target>
            <Menu.Dropdown>
              <Menu.Label>to the environment</Menu.Label>
              {others.map((name) => <Menu.Item key={name} onClick={() => ask(promote(name))}>{name}</Menu.Item>)}
            </Menu.Dropdown>
          </Menu>
          <ActionButton action="rollback" object={where} variant="default" leftSection={<Icon name="back" size={13} />} onAct={() => ask(rollBack)} onPropose={() => ask(rollBack)}>Roll back</ActionButton>
        </>
      ) : null}
      {asked && (
        <Confirm opened={opened} onClose={() => setOpened(false)} title={asked.title} command={asked.command} verb={asked.verb} danger={asked.danger ?? false} onConfirm={asked.act}>
          {asked.text}
        </Confirm>
      )}
    </div>
  );
}
