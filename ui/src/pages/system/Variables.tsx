import { Select } from '@mantine/core';
import { Command } from '../../parts/Command';
import { Empty, Failed } from '../../parts/Notices';
import { Skeletons } from '../../parts/Skeletons';
import { State } from '../../parts/State';
import { useVariables } from './api';

/** Names of variables and secrets of an environment. Values are for `decalog env ls`, and those of secrets for nobody. */
export function Variables({ places, chosen, onChoose }: { places: readonly string[]; chosen: string | undefined; onChoose: (place: string) => void }) {
  const place = chosen ?? places[0];
  const all = chosen && !places.includes(chosen) ? [...places, chosen] : places;
  const names = all.map((value) => ({ value, label: value.replace('@', ', ') }));
  return (
    <section>
      <div className="system-head">
        <h2>Variables and secrets</h2>
        {place && <Select aria-label="Project and environment" w={190} allowDeselect={false} searchable data={names} value={place} onChange={(value) => value && onChoose(value)} />}
      </div>
      {place ? <Listed place={place} /> : <Empty title="No model is live in any environment" command="decalog deploy examples/flights" />}
    </section>
  );
}

function Listed({ place }: { place: string }) {
  const [project = '', environment = ''] = place.split('@');
  const { data, error, refetch } = useVariables(project, environment);
  const options = `${project === 'default' ? '' : ` --project ${project}`}${environment === 'production' ? '' : ` --env ${environment}`}`;
  if (error && !data) return <Failed problem={error} onRetry={() => void refetch()} />;
  if (!data) return <Skeletons lines={3} />;
  if (data.variables.length === 0) return <Empty title="None is set" command={`decalog env set LEVEL=3${options}`} />;
  return (
    <>
      <ul className="system-list">
        {data.variables.map((one) => (
          <li key={one.name}>
            <code>{one.name}</code>
            {one.secret
              ? <State plain tone={one.wrapped_by === null && one.reference === null ? 'bad' : 'quiet'} icon={one.wrapped_by === null && one.reference === null ? 'alert' : 'lock'}>
                  {one.reference !== null ? `secret, read from ${one.reference}` : one.wrapped_by === null ? 'secret that cannot be read' : 'secret'}
                </State>
              : <span className="dim">variable</span>}
          </li>
        ))}
      </ul>
      <Command>{`decalog env ls${options}`}</Command>
    </>
  );
}
