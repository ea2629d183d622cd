import { SegmentedControl } from '@mantine/core';
import { getRouteApi } from '@tanstack/react-router';
import { useStaleSince } from '../../../api/live';
import { clock } from '../../../format';
import { resolve } from '../../../range';
import { Empty, Failed, Prose } from '../../../parts/Notices';
import { Icon } from '../../../parts/Icon';
import { useNow } from '../../../parts/now';
import { RangePicker } from '../../../parts/RangePicker';
import { Skeletons } from '../../../parts/Skeletons';
import { type Metric, useQuality } from '../truth/api';
import { HowToSend } from '../truth/HowToSend';
import { QualityOverTime } from '../truth/OverTime';
import { Summary } from '../truth/Summary';
import { metricsOf } from '../truth/words';
import type { TabProps } from './props';
import '../truth/truth.css';

const route = getRouteApi('/models/$project/$model');

/** How good the predictions were, as far as anybody knows yet. */
export default function TruthTab({ project, model, environment }: TabProps) {
  const { since, from, to, by, column } = route.useSearch();
  const navigate = route.useNavigate();
  const stale = useStaleSince();
  const range = resolve({ since, from, to }, useNow(60_000), '30d');
  const step = by === 'hour' || by === 'day' ? by : range.to - range.from <= 3 * 86_400_000 ? 'hour' : 'day';
  const whole = useQuality(project, model, environment, 'all', range);
  const windows = useQuality(project, model, environment, step, range);
  if (whole.error && !whole.data) return <Failed problem={whole.error} onRetry={() => void whole.refetch()} />;
  if (!whole.data) return <Skeletons lines={8} />;

  const versions = whole.data.windows.toReversed();
  const metrics = metricsOf(versions);
  const metric = metrics.find((name) => name === column) ?? metrics[0];
  const parts = windows.data?.windows ?? [];
  const unreadable = versions.reduce((sum, window) => sum + window.unreadable, 0);
  const times = parts.flatMap((window) => [window.from_ms, window.to_ms]);
  // A young model's few hours fill the chart, in place of a month without any.
  const drawn = { from: Math.max(range.from, Math.min(...times, range.to) - 3_600_000), to: range.to };
  return (
    <div className="truth">
      <div className="truth-bar">
        <span className="dim">{versions[0] ? <>Output <b>{versions[0].output}</b>, compared as a {versions[0].kind}</> : 'What was predicted against what turned out to be true'}</span>
        {stale !== null && <span className="dim">stale since {clock(stale)}</span>}
        <div className="truth-tools">
          <SegmentedControl
            aria-label="Length of a window" value={step} data={[{ value: 'hour', label: 'Hours' }, { value: 'day', label: 'Days' }]}
            onChange={(value) => void navigate({ search: (all) => ({ ...all, by: value }) })}
          />
          <RangePicker value={{ since, from, to }} otherwise="30d" onChange={(next) => void navigate({ search: (all) => ({ ...all, ...next }) })} />
        </div>
      </div>
      {whole.data.undecided.map(({ environment: where, error, help }) => (
        <div key={where} className="truth-undecided" role="status">
          <Icon name="warning" size={15} />
          <div><b><Prose text={error} /></b><div className="dim"><Prose text={help} /></div></div>
        </div>
      ))}
      {versions.length === 0 && whole.data.undecided.length === 0 ? (
        <Empty icon="check" title={`No predictions of ${environment} to compare with their truth`}>
          Truth is joined with the records of predictions, whenever it comes; new ones count after a minute.
        </Empty>
      ) : (
        versions.length > 0 && <Summary windows={versions} label={`Quality of ${model} by version`} />
      )}
      {metric ? (
        <QualityOverTime
          windows={parts} metric={metric} metrics={metrics} range={drawn}
          onMetric={(name: Metric) => void navigate({ search: (all) => ({ ...all, column: name }) })}
        />
      ) : (
        versions.length > 0 && <Empty title="No truth has come yet">As soon as some has, it is shown here with its interval.</Empty>
      )}
      {unreadable > 0 && <p className="dim">{unreadable} truths are not what they should be compared as, and count nowhere.</p>}
      <HowToSend project={project} model={model} open={metrics.length === 0} />
    </div>
  );
}
