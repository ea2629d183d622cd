import { ActionIcon, Select, Tooltip } from '@mantine/core';
import { getRouteApi } from '@tanstack/react-router';
import type { Schema } from '../../../api/client';
import { bytes, ms } from '../../../format';
import { resolve } from '../../../range';
import { Command } from '../../../parts/Command';
import { Icon } from '../../../parts/Icon';
import { Empty } from '../../../parts/Notices';
import { useNow } from '../../../parts/now';
import { RangePicker } from '../../../parts/RangePicker';
import { Time } from '../../../parts/Time';
import { columnDifferences, dataDifferences, type Difference, factDifferences, metricDifferences, packageDifferences } from '../compare/differences';
import { Answers } from '../compare/Answers';
import { Files } from '../compare/Files';
import { Metrics } from '../compare/Metrics';
import { Section } from '../compare/Section';
import type { TabProps } from './props';
import '../compare/compare.css';

const route = getRouteApi('/models/$project/$model');
type Version = Schema<'VersionView'>;

/** Two versions side by side: by default what is live, and the newest other one. */
export default function CompareTab({ project, model, environment, view }: TabProps) {
  const { a: first, b: second, since, from, to } = route.useSearch();
  const navigate = route.useNavigate();
  const range = resolve({ since, from, to }, useNow(60_000), '24h');
  const { versions } = view;
  const find = (name: string | undefined) => versions.find((one) => one.version === name);
  const live = find(view.live.find(([name]) => name === environment)?.[1]);
  const b = find(second) ?? versions.findLast((one) => one !== (find(first) ?? live)) ?? versions.at(-1);
  const a = find(first) ?? (live !== b ? live : undefined) ?? versions.findLast((one) => one !== b);
  if (!a || !b) return <Empty title="There is one version only" command={`decalog deploy .`}>With a second one, this shows what differs.</Empty>;

  const set = (change: { a?: string; b?: string }) => void navigate({ search: (all) => ({ ...all, a: a.version, b: b.version, ...change }) });
  const role = (version: Version) => view.live.flatMap(([name, live]) => (live === version.version ? [name] : [])).join(', ');
  const unread = [a, b].find((one) => !one.schema);
  const unknown = unread ? `those of ${unread.version} are not known before it is released` : 'none';
  return (
    <div className="compare">
      <div className="compare-head">
        <Tooltip label="Swap them">
          <ActionIcon aria-label="Swap the versions" variant="default" size={30} onClick={() => set({ a: b.version, b: a.version })}><Icon name="swap" size={15} /></ActionIcon>
        </Tooltip>
        <Choice label="First version" versions={versions} value={a} live={role(a)} onChange={(version) => set({ a: version })} />
        <Choice label="Second version" versions={versions} value={b} live={role(b)} onChange={(version) => set({ b: version })} />
      </div>
      {a === b && <p className="dim compare-note">Both are the same version.</p>}
      <section className="compare-section">
        <h2>
          In service <span className="dim">in {environment}</span>
          <span className="compare-range"><RangePicker value={{ since, from, to }} otherwise="24h" onChange={(next) => void navigate({ search: (all) => ({ ...all, ...next }) })} /></span>
        </h2>
        <Metrics project={project} model={model} environment={environment} a={a} b={b} range={range} />
      </section>
      {a !== b && <Answers key={`${environment} ${a.version} ${b.version}`} project={project} model={model} environment={environment} a={a.version} b={b.version} />}
      {a !== b && <Files project={project} model={model} a={a.version} b={b.version} />}
      <Section title="Inputs" a={a.version} b={b.version} rows={columnDifferences(a, b, 'inputs')} none={unknown} />
      <Section title="Outputs" a={a.version} b={b.version} rows={columnDifferences(a, b, 'outputs')} none={unknown} />
      <Section title="Packages" a={a.version} b={b.version} rows={packageDifferences(a, b)} none="neither has any" />
      <Section title="Training data" a={a.version} b={b.version} rows={dataDifferences(a, b)} none="neither names any" />
      <Section title="Metrics of training" a={a.version} b={b.version} rows={metricDifferences(a, b)} none="neither has any" />
      <Section title="Where they come from" a={a.version} b={b.version} rows={factDifferences(a, b)} none="not known" />
      {(a.measured || b.measured) && <Section title="Benchmark" a={a.version} b={b.version} rows={measured(a, b)} none="not measured" />}
      <div><Command>{`decalog metrics ${project === 'default' ? model : `${project}/${model}`}`}</Command></div>
    </div>
  );
}

function measured(a: Version, b: Version): Difference[] {
  const row = (name: string, of: (measurement: Schema<'Measurement'>) => string): Difference => ({ name, a: a.measured && of(a.measured), b: b.measured && of(b.measured) });
  return [
    row('p50', ({ p50_ms }) => ms(p50_ms)),
    row('p99', ({ p99_ms }) => ms(p99_ms)),
    row('Memory', ({ memory_mb }) => bytes(memory_mb * 1_048_576)),
  ];
}

function Choice({ label, versions, value, live, onChange }: { label: string; versions: readonly Version[]; value: Version; live: string; onChange: (version: string) => void }) {
  return (
    <div className="compare-choice">
      <Select
        aria-label={label} w={110} allowDeselect={false} searchable value={value.version} data={versions.map((one) => one.version).toReversed()}
        onChange={(version) => version && onChange(version)}
      />
      <span className="dim cut"><Time at={value.at_ms} />{live && <>, live in {live}</>}</span>
    </div>
  );
}
