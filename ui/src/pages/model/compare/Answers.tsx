import { Link } from '@tanstack/react-router';
import { ActionButton } from '../../../parts/ActionButton';
import { Command } from '../../../parts/Command';
import { Failed } from '../../../parts/Notices';
import { Skeletons } from '../../../parts/Skeletons';
import { count, countOf, plain, share } from '../../../format';
import { METRICS } from '../truth/words';
import { type Compared, type Estimate, REQUESTS, useCompared } from './api';

interface Props {
  project: string;
  model: string;
  environment: string;
  a: string;
  b: string;
}

/** What both answer to the same requests, asked off the traffic. */
export function Answers({ project, model, environment, a, b }: Props) {
  const asked = useCompared(project, model, environment, a, b);
  const name = project === 'default' ? model : `${project}/${model}`;
  const place = environment === 'production' ? name : `${name}@${environment}`;
  return (
    <section className="compare-section" aria-busy={asked.isPending}>
      <h2>Answers <span className="dim">to the last {REQUESTS} requests, asked again off the traffic</span></h2>
      <div className="compare-act">
        <ActionButton action="predict" object={`${name}@${environment}`} variant="default" loading={asked.isPending} onAct={() => asked.mutate()}>
          {asked.data ? 'Ask both again' : 'Ask both'}
        </ActionButton>
        <Command>{`decalog diff ${place}@${a} ${b} --replay ${REQUESTS}`}</Command>
      </div>
      {asked.isPending && <Skeletons lines={4} />}
      {asked.error && <Failed problem={asked.error} onRetry={() => asked.mutate()} doing />}
      <div aria-live="polite">{asked.data && <Told of={asked.data} project={project} model={model} />}</div>
    </section>
  );
}

const signed = (value: number) => `${value > 0 ? '+' : value < 0 ? '−' : ''}${plain(Math.abs(value))}`;
const between = ({ low, high }: Estimate, words: (value: number) => string) => `[${words(low)}, ${words(high)}]`;

function Told({ of, project, model }: { of: Compared; project: string; model: string }) {
  const { before, after, agreeing } = of;
  return (
    <>
      <p className="compare-told">
        <b className="num">{share(agreeing.value)}</b> of {countOf(of.rows, 'row')} have the same answer <span className="dim num">{between(agreeing, share)}</span>
        {of.latency && <>; a call of {after} takes <b className="num">{plain(of.latency.value)}</b> times as long <span className="dim num">{between(of.latency, plain)}</span></>}
      </p>
      {([[before, of.failed_before], [after, of.failed_after]] as const).map(([version, failed]) => failed.rows > 0 && (
        <p key={version} className="compare-told">{version} fails on {countOf(failed.rows, 'row')}: {failed.why}</p>
      ))}
      {of.outputs.length > 0 && (
        <Table columns={['Output', 'Rows that differ', 'Mean difference']}>
          {of.outputs.map((output) => (
            <tr key={output.output}>
              <th scope="row">{output.output}</th>
              <td className="num">
                {share(output.differing_share.value)} <span className="dim">{between(output.differing_share, share)}</span>
                {output.rounding > 0 && <span className="dim">, {count(output.rounding)} by rounding</span>}
              </td>
              <td className="num">{output.mean_difference ? <>{signed(output.mean_difference.value)} <span className="dim">{between(output.mean_difference, signed)}</span></> : '–'}</td>
            </tr>
          ))}
        </Table>
      )}
      {of.quality.length > 0 && (
        <Table columns={['By the truth', before, after]}>
          {of.quality.map(({ metric, before: one, after: other, difference, mcnemar }) => (
            <tr key={metric}>
              <th scope="row">{METRICS[metric].title}</th>
              <td className="num">{plain(one)}</td>
              <td className="num">
                {plain(other)} <span className="dim">{signed(difference.value)} {between(difference, signed)}{mcnemar && `; right alone ${mcnemar.only_before} : ${mcnemar.only_after}, p = ${plain(mcnemar.p)}`}</span>
              </td>
            </tr>
          ))}
        </Table>
      )}
      {of.worst.length > 0 && (
        <Table columns={['Differs most', before, after]}>
          {of.worst.map((worst) => (
            <tr key={`${worst.id} ${worst.row} ${worst.output}`}>
              <th scope="row">
                <Link to="/models/$project/$model" params={{ project, model }} search={{ tab: 'records', environment: of.environment, id: worst.id }}>{worst.id.slice(0, 8)}…{worst.id.slice(-4)}</Link>
                {worst.row > 0 && ` row ${worst.row}`} <span className="dim">{worst.output}</span>
              </th>
              <td className="num">{cell(worst.before)}</td>
              <td className="num">{cell(worst.after)}</td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}

function cell(value: number | string | null | undefined): string {
  return typeof value === 'number' ? plain(value) : (value ?? '–');
}

function Table({ columns: [first, second, third], children }: { columns: readonly [string, string, string]; children: React.ReactNode }) {
  return (
    <div className="compare-scroll">
      <table className="compare-table">
        <thead><tr><th scope="col">{first}</th><th scope="col">{second}</th><th scope="col">{third}</th></tr></thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
