import { Select } from '@mantine/core';
import { Link, useNavigate } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import type { Schema } from '../../../api/client';
import { useLiveModel, useStaleSince } from '../../../api/live';
import { clock, countOf, inUnit, NOTHING, type Unit } from '../../../format';
import { ActionButton } from '../../../parts/ActionButton';
import { Icon } from '../../../parts/Icon';
import { PageHead } from '../../../parts/PageHead';
import { State, type Tone } from '../../../parts/State';
import { useListed } from './read';
import { RollBack } from './RollBack';
import './head.css';

interface Props {
  project: string;
  model: string;
  environment: string;
  environments: readonly string[];
  view: Schema<'ModelView'> | undefined;
  onEnvironment: (name: string) => void;
}

/** The head of a model's page: what it is, how it is this second, and what one does to it most often. */
export function ModelHead({ project, model, environment, environments, view, onEnvironment }: Props) {
  const navigate = useNavigate();
  const live = view?.live.find(([name]) => name === environment)?.[1];
  const object = `${project}/${model}@${environment}`;
  const openRelease = () => void navigate({ to: '/models/$project/$model', params: { project, model }, search: { tab: 'release', environment } });
  return (
    <>
      <PageHead title={model} shown={<><span className="dim">{project} / </span>{model} {live && <span className="head-version num">{live}</span>}</>}>
        <Select
          aria-label="Environment" w={124} value={environment} allowDeselect={false}
          data={environments.includes(environment) ? [...environments] : [...environments, environment]}
          onChange={(name) => name && onEnvironment(name)}
        />
        <RollBack project={project} model={model} environment={environment} />
        <ActionButton action="release" object={object} onAct={openRelease} onPropose={openRelease}>Release…</ActionButton>
      </PageHead>
      <Strip project={project} model={model} environment={environment} view={view} live={live} />
    </>
  );
}

/** The state in words. What the server says of it comes first. */
function stateOf(view: Schema<'ModelView'>, environment: string, live: string | undefined, told: string | undefined): [Tone, string] {
  const running = view.deployments.findLast((one) => one.environment === environment && one.outcome === 'running');
  if (running) return ['busy', told && told !== '' ? told : `${running.version} is on its way`];
  if (!live) return ['quiet', `not live in ${environment}`];
  if (told && told !== 'live' && told !== '') return [/^idle/.test(told) ? 'quiet' : /fail/.test(told) ? 'warning' : 'busy', told];
  const ready = view.replicas.filter((one) => one.environment === environment && one.version === live && one.state === 'ready').length;
  const wanted = view.targets.find(([name]) => name === environment)?.[1] ?? 0;
  if (wanted === 0 && ready === 0) return ['quiet', 'idle: the next request starts a replica'];
  if (ready === 0) return ['warning', 'no replica is ready'];
  return ready < wanted ? ['busy', 'live, more replicas start'] : ['good', 'live'];
}

function Strip({ project, model, environment, view, live }: { project: string; model: string; environment: string; view: Schema<'ModelView'> | undefined; live: string | undefined }) {
  const listed = useListed(project, model, environment);
  const now = useLiveModel(project, model, environment);
  const stale = useStaleSince();
  if (!view) return <div className="head-strip" />;
  const [tone, words] = stateOf(view, environment, live, now?.state ?? listed?.state);
  const [short, ...more] = words.split(': ');
  const minute = listed?.last_minute;
  const replicas = view.replicas.filter((one) => one.environment === environment && one.version === live);
  const ready = replicas.filter((one) => one.state === 'ready').length;
  const wanted = now?.wanted ?? listed?.wanted ?? view.targets.find(([name]) => name === environment)?.[1];
  const temperature = listed?.temperature ?? replicas.at(-1)?.temperature;
  const rate = now ? now.requests_per_s : minute?.requests_per_s;
  // Where nothing was asked, nothing was slow and nothing failed.
  const known = rate ? (now ?? { p50_ms: minute?.p50_ms, p99_ms: minute?.p99_ms, errors_share: minute?.errors_share }) : undefined;
  const errors = known?.errors_share;
  const alarms = now?.alarms ?? listed?.alarms ?? 0;
  return (
    <dl className="head-strip" data-stale={stale !== null || undefined} title={stale === null ? undefined : `Stale since ${clock(stale)}`}>
      <Fact name="State"><State tone={tone} explain={more.length > 0 ? words : null}>{short ?? words}</State></Fact>
      <Fact name="Replicas" hint="Ready, of those that are wanted">
        <span className="num">{typeof wanted === 'number' ? `${ready} / ${wanted}` : ready}</span>
        {temperature && <span className="dim head-small"> {temperature}</span>}
      </Fact>
      <Figure name="Requests" value={rate} unit="rate" />
      <Figure name="p50" value={known?.p50_ms} unit="ms" />
      <Figure name="p99" value={known?.p99_ms} unit="ms" />
      <Figure name="Errors" value={errors} unit="share" bad={(errors ?? 0) >= 0.01} />
      <Fact name="Alarms">
        {alarms > 0
          ? <Link to="/alarms" search={{ model: `${project}/${model}` }} className="head-alarms"><Icon name="alarm" size={14} />{countOf(alarms, 'open alarm')}</Link>
          : <span className="dim">none</span>}
      </Fact>
    </dl>
  );
}

function Fact({ name, hint, children }: { name: string; hint?: string; children: ReactNode }) {
  return <div className="head-fact" title={hint}><dt>{name}</dt><dd>{children}</dd></div>;
}

function Figure({ name, value, unit, bad }: { name: string; value: number | null | undefined; unit: Unit; bad?: boolean }) {
  const text = inUnit(value, unit);
  return <Fact name={name}>{bad ? <State plain tone="bad">{text}</State> : <span className={text === NOTHING ? 'num dim' : 'num'}>{text}</span>}</Fact>;
}
