import { SegmentedControl, Switch } from '@mantine/core';
import { useState } from 'react';
import { Copy } from '../../../parts/Copy';
import { type Call, type Language, LANGUAGES, snippet } from './calls';

const LOCAL = ['localhost', '127.0.0.1', '[::1]'];

/** The same call elsewhere, with the row as it is now. */
export function Snippets({ call }: { call: Omit<Call, 'origin' | 'withToken'> }) {
  const [language, setLanguage] = useState<Language>('curl');
  const [withToken, setWithToken] = useState(() => !LOCAL.includes(location.hostname));
  const text = snippet(language, { ...call, origin: location.origin, withToken });
  return (
    <section className="try-same" aria-label="The same call elsewhere">
      <div className="try-facts">
        <h2>The same call</h2>
        <SegmentedControl aria-label="Language" value={language} onChange={(one) => setLanguage(one as Language)} data={[...LANGUAGES]} />
        {language !== 'Python' && <Switch size="xs" label="With a token" checked={withToken} onChange={(event) => setWithToken(event.currentTarget.checked)} />}
      </div>
      <div className="try-block">
        <pre tabIndex={0} aria-label={`The call in ${language}`}>{text}</pre>
        <Copy text={text} label={`Copy the call in ${language}`} />
      </div>
    </section>
  );
}
