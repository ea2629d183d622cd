import type { Schema } from '../../../api/client';
import { Icon } from '../../../parts/Icon';
import { Prose } from '../../../parts/Notices';

type Failed = Extract<Schema<'Outcome'>, { failed: unknown }>['failed'];

/** How an attempt ended: the step that failed, or what somebody or a guard did. */
export function endedWords(step: string): string {
  return /ed$/.test(step) ? step.replaceAll('_', ' ') : `failed at ${step.replaceAll('_', ' ')}`;
}

/** Why an attempt did not go live, in the server's words. */
export function Ended({ version, failed }: { version: string; failed: Failed }) {
  const { error, details, help } = failed.problem;
  return (
    <div className="ended" role="status" data-calm={failed.step === 'aborted' || undefined}>
      <Icon name={failed.step === 'aborted' ? 'info' : 'alert'} size={15} />
      <div>
        <b>{version} {failed.step === 'aborted' ? 'was aborted' : endedWords(failed.step)}</b>
        <div><Prose text={error} /></div>
        {details && details.length > 0 && <pre>{details.join('\n')}</pre>}
        {help && <div className="dim"><Prose text={help} /></div>}
      </div>
    </div>
  );
}
