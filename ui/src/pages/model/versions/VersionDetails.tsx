import { type ReactNode, useState } from 'react';
import type { Schema } from '../../../api/client';
import { bytes, count, countOf, ms } from '../../../format';
import { ActionButton } from '../../../parts/ActionButton';
import { Confirm } from '../../../parts/Confirm';
import { Copy } from '../../../parts/Copy';
import { Prose } from '../../../parts/Notices';
import { State } from '../../../parts/State';
import { Time } from '../../../parts/Time';
import { useActs } from './act';
import { Commit, RUNTIMES } from './columns';
import { ReleaseButton } from './ReleaseButton';
import { SchemaTable } from './SchemaTable';
import { nameOf } from './words';

interface Props {
  project: string;
  model: string;
  environment: string;
  view: Schema<'ModelView'>;
  version: Schema<'VersionView'>;
  onGone: () => void;
}

/** Everything about one version, and what can be done with it. */
export function VersionDetails(props: Props) {
  const { view, version } = props;
  const { provenance, measured } = version;
  const places = view.live.filter(([, one]) => one === version.version).map(([environment]) => environment);
  const attempt = view.deployments.findLast((one) => one.version === version.version);
  return (
    <section className="version" aria-label={`Version ${version.version}`}>
      <header className="version-head">
        <h2 className="num">{version.version}</h2>
        {places.length > 0 ? <State tone="good">{`live in ${places.join(', ')}`}</State> : <State tone="quiet">not live</State>}
        <div className="version-acts">
          <Remove {...props} places={places} />
          <ReleaseButton {...props} />
        </div>
      </header>
      {attempt && <Attempt attempt={attempt} />}
      <dl className="version-facts">
        <Fact name="Pushed"><Time at={version.at_ms} as="moment" /> by {provenance.author || 'somebody'}</Fact>
        <Fact name="Commit"><Commit provenance={provenance} />{provenance.git_commit && <Copy text={provenance.git_commit} label="Copy the commit" />}</Fact>
        <Fact name="Digest"><code>{version.digest.slice(0, 16)}…</code><Copy text={version.digest} label="Copy the digest" /></Fact>
        <Fact name="Runtime">{RUNTIMES[version.runtime]}</Fact>
        <Fact name="Benchmark">
          {measured
            ? <span className="num">p50 {ms(measured.p50_ms)}, p99 {ms(measured.p99_ms)}, {bytes(measured.memory_mb * 1_048_576)} <span className="dim">in {count(measured.requests)} requests</span></span>
            : <span className="dim">not measured</span>}
        </Fact>
        <Fact name="Packages"><Packages all={version.packages} /></Fact>
      </dl>
      {version.schema
        ? <SchemaTable schema={version.schema} />
        : <p className="dim">Its columns are not known yet: they are when it is loaded for the first time.</p>}
    </section>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return <div><dt>{name}</dt><dd>{children}</dd></div>;
}

function Packages({ all }: { all: readonly string[] }) {
  const [open, setOpen] = useState(false);
  if (all.length === 0) return <span className="dim">none</span>;
  return (
    <>
      <button type="button" className="quiet-button version-more" aria-expanded={open} onClick={() => setOpen(!open)}>{countOf(all.length, 'package')}</button>
      {open && <ul className="version-packages">{all.map((one) => <li key={one}><code>{one}</code></li>)}</ul>}
    </>
  );
}

/** How its last attempt to go live ended, unless that is plain to see. */
function Attempt({ attempt: { outcome, environment } }: { attempt: Schema<'DeploymentView'> }) {
  if (outcome === 'live') return null;
  if (outcome === 'running') return <p className="version-note"><State tone="busy">{`on its way to ${environment}`}</State></p>;
  const { step, problem } = outcome.failed;
  const isEnded = step === 'aborted' || step === 'superseded';
  return (
    <div className="version-note" role="status">
      <State tone={isEnded ? 'quiet' : 'bad'}>{isEnded ? step : `failed: ${step}`}</State>
      <div>
        <div><Prose text={problem.error} /></div>
        {(problem.details?.length ?? 0) > 0 && <pre className="notice-details">{problem.details?.join('\n')}</pre>}
        {problem.help && <div className="dim"><Prose text={problem.help} /></div>}
      </div>
    </div>
  );
}

/** A version that is live cannot be removed. */
function Remove({ project, model, version, places, onGone }: Props & { places: readonly string[] }) {
  const [asks, setAsks] = useState(false);
  const { remove } = useActs(project, model);
  const name = `${nameOf(project, model)}@${version.version}`;
  if (places.length > 0) return null;
  return (
    <>
      <ActionButton variant="subtle" className="version-remove" action="remove" object={`${project}/${model}`} onAct={() => setAsks(true)} onPropose={() => setAsks(true)}>
        Remove…
      </ActionButton>
      <Confirm
        opened={asks} onClose={() => setAsks(false)} danger typed={name} verb="Remove" title={`Remove ${name}?`}
        command={`decalog rm ${name}`}
        onConfirm={async () => {
          await remove(version.version);
          onGone();
        }}
      >
        <div>It cannot be released or rolled back to any more. Records of what it answered stay. This cannot be undone.</div>
      </Confirm>
    </>
  );
}
