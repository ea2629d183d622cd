import { Empty, Failed } from '../../../parts/Notices';
import { Skeletons } from '../../../parts/Skeletons';
import { TryForm } from '../try/TryForm';
import { useLately } from '../try/read';
import { nameOf } from '../versions/words';
import type { TabProps } from './props';
import '../try/try.css';

/** A row typed in by hand, and what the live version answers to it. */
export default function TryTab(props: TabProps) {
  const { project, model, environment, view } = props;
  const live = view.live.find(([name]) => name === environment)?.[1];
  const schema = view.versions.find((one) => one.version === live)?.schema;
  const lately = useLately(project, model, environment, live);
  const name = nameOf(project, model);

  if (!live) return <Empty icon="play" title={`Nothing is live in ${environment}`} command={`decalog release ${name}@${view.versions.at(-1)?.version ?? 'v1'}`} />;
  if (!schema) return <Empty icon="learning" title={`The columns of ${live} are not known yet`} command={`decalog show ${name} --schema`}>They are when it is loaded for the first time.</Empty>;
  if (lately.error && !lately.data) return <Failed problem={lately.error} onRetry={() => void lately.refetch()} />;
  if (!lately.data) return <Skeletons />;
  return <TryForm key={`${live}@${environment}`} {...props} live={live} schema={schema} lately={lately.data} />;
}
