import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { answer, api } from '../../../api/client';
import { keys } from '../../../api/keys';
import { toProblem } from '../../../api/problem';
import { Icon } from '../../../parts/Icon';
import { Time } from '../../../parts/Time';
import { useLineage } from '../lineage/api';
import type { RecordRow } from './api';
import { type Truth, wayOf } from './steps';

/** What turned out to be true of a request. It may come any day, so it is asked with each look at it. */
function useTruth(project: string, model: string, { id, environment, key }: RecordRow) {
  return useQuery({
    queryKey: keys.model(project, model, 'truth-of', id, environment, key),
    queryFn: async ({ signal }) => {
      const query = { id, environment, ...(key === null ? {} : { key }) };
      return (await answer(api.GET('/v1/projects/{project}/models/{model}/truth', { params: { path: { project, model }, query }, signal }))) as Truth;
    },
  });
}

/** The way of a request as a line of steps, from the data that its version was trained with to what was true. */
export function Way({ row, project, model }: { row: RecordRow; project: string; model: string }) {
  const lineage = useLineage(project, model);
  const truth = useTruth(project, model, row);
  const problems = [lineage.error, truth.error].filter((error) => error !== null).map((error) => toProblem(error).message);
  return (
    <section aria-label="Its way">
      <h3>Its way</h3>
      <ol className="way" aria-busy={lineage.isPending || truth.isPending}>
        {wayOf(row, lineage.data, truth.data).map((step) => (
          <li key={step.id} data-open={step.isOpen || undefined}>
            <span className="way-sign"><Icon name={step.icon} size={13} /></span>
            <span className="way-text">
              <b>{step.id === 'version'
                ? <Link to="/models/$project/$model" params={{ project, model }} search={{ tab: 'lineage', version: row.version }}>{step.title}</Link>
                : step.title}</b>{' '}
              <span className="dim">{step.text}</span>
            </span>
            {step.at !== undefined && <span className="way-time dim num"><Time at={step.at} as="moment" /></span>}
          </li>
        ))}
      </ol>
      {problems.map((problem) => <p key={problem} className="dim small">Not known: {problem}</p>)}
    </section>
  );
}
