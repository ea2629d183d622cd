import { Button } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { bytes, count, countOf } from '../../../format';
import { Copy } from '../../../parts/Copy';
import { Time } from '../../../parts/Time';
import type { Lineage } from './api';
import { describe } from './graph';
import { KINDS } from './Picture';

interface Props {
  lineage: Lineage;
  id: string;
  focus: string;
  onFocus: (version: string) => void;
}

/** All that is known of what was chosen in the picture. */
export function Details(props: Props) {
  const { lineage, id, focus, onFocus } = props;
  const node = describe(lineage, id);
  const others = lineage.edges.filter((edge) => edge.from === id && edge.to !== `version:${focus}` && edge.to.startsWith('version:')).map((edge) => edge.to.slice('version:'.length));
  return (
    <section className="lineage-details" aria-label={`${KINDS[node.kind]} ${node.title}`}>
      <h2>{KINDS[node.kind]} <span className="num">{node.title}</span></h2>
      <dl>
        <Facts {...props} />
        {others.length > 0 && node.kind !== 'version' && (
          <Fact title="Also of">
            {[...new Set(others)].slice(0, 12).map((version) => <Button key={version} variant="default" size="compact-xs" onClick={() => onFocus(version)}>{version}</Button>)}
            {others.length > 12 && <span className="dim">and {others.length - 12} more</span>}
          </Fact>
        )}
      </dl>
      {node.kind === 'version' && node.title !== focus && <Button variant="default" onClick={() => onFocus(node.title)}>Look from {node.title}</Button>}
    </section>
  );
}

function Facts({ lineage, id }: Props) {
  const version = lineage.versions.find((one) => one.id === id);
  if (version) {
    const { author, git_branch: branch, host, metrics } = version.provenance;
    const measured = Object.entries(metrics ?? {});
    return (
      <>
        <Fact title="Pushed"><span>by {version.by}{author && author !== version.by ? ` (${author})` : ''}, <Time at={version.at_ms} /></span></Fact>
        {host && <Fact title="From">{host}{branch ? `, branch ${branch}` : ''}</Fact>}
        <Fact title="Runs on">{version.runtime}</Fact>
        <Fact title="Digest" copy={version.digest}><code>{version.digest.slice(0, 16)}</code></Fact>
        {measured.length > 0 && <Fact title="Measured">{measured.slice(0, 6).map(([name, value]) => `${name} ${value}`).join(', ')}{measured.length > 6 ? ` and ${measured.length - 6} more` : ''}</Fact>}
        <Fact title="More">
          <Link to="/models/$project/$model" params={{ project: lineage.project, model: lineage.model }} search={{ tab: 'versions', version: version.version }}>See the version</Link>
        </Fact>
      </>
    );
  }
  const data = lineage.data.find((one) => one.id === id);
  if (data) {
    return (
      <>
        <Fact title="Called">{data.names.join(', ')}</Fact>
        <Fact title="Size">{bytes(data.bytes)} in {countOf(data.files, 'file')}{data.rows != null ? `, ${countOf(data.rows, 'row')}` : ''}</Fact>
        <Fact title="SHA-256" copy={data.digest}><code>{data.digest.slice(0, 16)}</code></Fact>
      </>
    );
  }
  const code = lineage.code.find((one) => one.id === id);
  if (code) {
    return (
      <>
        <Fact title="Commit" copy={code.commit}><code>{code.commit}</code></Fact>
        <Fact title="Changed since">{code.is_dirty ? 'yes' : 'no'}{code.diff ? <> <code>{code.diff.slice(0, 12)}</code></> : ''}</Fact>
        {code.remote && <Fact title="Repository" copy={code.remote}>{code.remote}</Fact>}
      </>
    );
  }
  const packages = lineage.packages.find((one) => one.id === id);
  if (packages) {
    return (
      <>
        <Fact title="Python">{packages.python}</Fact>
        <Fact title="Lock" copy={packages.digest}><code>{packages.digest.slice(0, 16)}</code></Fact>
        <Fact title="Packages"><code className="lineage-packages" tabIndex={0} role="group" aria-label="Packages">{packages.packages.join('\n')}</code></Fact>
      </>
    );
  }
  const release = lineage.releases.find((one) => one.id === id);
  if (release) {
    return (
      <>
        <Fact title="Asked for"><span>by {release.by}, <Time at={release.at_ms} /></span></Fact>
        {release.previous && <Fact title="Before">{release.previous}</Fact>}
        {release.parts.length > 0 && <Fact title="Parts">{release.parts.map((part) => `${part.percent}%${part.is_shadow ? ' of copies' : ''}`).join(', ')}</Fact>}
        <Fact title="Outcome">
          <span>{release.live_ms != null ? <>all of the traffic, <Time at={release.live_ms} /></> : release.ended_ms != null ? <>ended{release.ended_at ? ` at ${release.ended_at}` : ''}, <Time at={release.ended_ms} /></> : 'on its way'}</span>
        </Fact>
        <Fact title="More"><Link to="/events" search={{ model: `${lineage.project}/${lineage.model}`, at: String(release.deployment) }}>See the event</Link></Fact>
      </>
    );
  }
  const requests = lineage.requests.find((one) => one.id === id);
  if (requests) {
    return (
      <>
        <Fact title="Where">{requests.environment}</Fact>
        <Fact title="Requests"><span className="num">{count(requests.count)}</span>{lineage.requests_from_ms != null && <span className="dim">since <Time at={lineage.requests_from_ms} as="moment" /></span>}</Fact>
        <Fact title="Failed"><span className="num">{count(requests.failed)}</span></Fact>
        <Fact title="More">
          <Link to="/models/$project/$model" params={{ project: lineage.project, model: lineage.model }} search={{ tab: 'records', environment: requests.environment, version: requests.version }}>See records</Link>
        </Fact>
      </>
    );
  }
  return <Fact title="More">It is older than what the server tells at once.</Fact>;
}

function Fact({ title, copy, children }: { title: string; copy?: string; children: ReactNode }) {
  return (
    <div>
      <dt>{title}</dt>
      <dd>{children}{copy && <Copy text={copy} label={`Copy the ${title}`} />}</dd>
    </div>
  );
}
