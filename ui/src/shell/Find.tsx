import { Spotlight } from '@mantine/spotlight';
import { useDebouncedValue } from '@mantine/hooks';
import { useNavigate } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { useOpenAlarms } from '../api/alarms';
import { useModelsNamed } from '../api/models';
import { Icon, type IconName } from '../parts/Icon';
import { copyText } from '../parts/Copy';
import { modelOf } from '../pages/alarms/words';
import { PAGES } from './pages';
import { matches, parseWish, VERBS } from './wish';

interface Found {
  id: string;
  label: string;
  about: string;
  icon: IconName;
  go: () => void;
}

/** Finds any model, version, alarm, page and verb: `churn`, `churn v3`, `rollback churn`. */
export default function Find() {
  const [text, setText] = useState('');
  const groups = useFound(text);
  return (
    <Spotlight.Root title="Find" classNames={{ header: 'outside' }} query={text} onQueryChange={setText} shortcut={null} maxHeight={420} scrollable clearQueryOnClose transitionProps={{ duration: 60 }} overlayProps={{ blur: 0, backgroundOpacity: 0.4 }}>
      <Spotlight.Search placeholder="A model, a version, an alarm, a page, or something to do" leftSection={<Icon name="search" />} aria-label="Find" />
      <Spotlight.ActionsList>
        {groups.map(([title, found]) => found.length > 0 && (
          <Spotlight.ActionsGroup key={title} label={title}>
            {found.map((one) => (
              <Spotlight.Action key={one.id} label={one.label} description={one.about} leftSection={<Icon name={one.icon} />} onClick={one.go} />
            ))}
          </Spotlight.ActionsGroup>
        ))}
        {groups.every(([, found]) => found.length === 0) && <Spotlight.Empty>Nothing is called like that</Spotlight.Empty>}
      </Spotlight.ActionsList>
    </Spotlight.Root>
  );
}

function useFound(text: string): [string, Found[]][] {
  const navigate = useNavigate();
  const wish = useMemo(() => parseWish(text), [text]);
  const [name] = useDebouncedValue(wish.name, 120);
  const { data: models } = useModelsNamed(name, true);
  const { data: alarms } = useOpenAlarms();

  return useMemo(() => {
    const listed = (models?.models ?? []).filter((row) => matches(`${row.project}/${row.name}`, wish.name)).slice(0, 8);
    const verbs = VERBS.filter((verb) => (wish.verb ? verb === wish.verb : wish.name !== '' && matches(verb.name, wish.name)));
    const open = (row: (typeof listed)[number], search: Readonly<Record<string, string>>) =>
      void navigate({ to: '/models/$project/$model', params: { project: row.project, model: row.name }, search: { environment: row.environment ?? undefined, ...search } });
    const toDo = (wish.verb ? listed : []).map((row): Found => ({
      id: `do ${row.project}/${row.name}@${row.environment}`, label: wish.verb?.says?.(row.name) ?? `${wish.verb?.title} ${row.name}`, about: `${row.project}, ${row.environment ?? 'nowhere'}`,
      icon: wish.verb?.icon ?? 'right', go: () => open(row, { tab: wish.verb?.tab ?? 'now' }),
    }));
    return [
      ['To do', toDo],
      ['Models', (wish.verb ? [] : listed).map((row): Found => ({
        id: `model ${row.project}/${row.name}@${row.environment}`,
        label: wish.version ? `${row.name} ${wish.version}` : row.name,
        about: `${row.project}, ${row.live ?? 'nothing'} live in ${row.environment ?? 'no environment'}`,
        icon: 'model',
        go: () => open(row, wish.version ? { tab: 'versions', version: wish.version } : {}),
      }))],
      ['Alarms', (alarms?.open ?? []).filter((alarm) => matches(`${alarm.model} ${alarm.what}`, text)).slice(0, 5).map((alarm): Found => ({
        id: `alarm ${alarm.id}`, label: alarm.what, about: `${alarm.model}, ${alarm.severity}`, icon: 'alarm', go: () => void navigate({ to: '/alarms', search: { model: modelOf(alarm), kind: alarm.kind } }),
      }))],
      ['Pages', PAGES.filter((page) => matches(page.title, text)).map((page): Found => ({
        id: `page ${page.to}`, label: page.title, about: page.about, icon: page.icon, go: () => void navigate({ to: page.to }),
      }))],
      ['In a terminal', verbs.map((verb): Found => ({
        id: `verb ${verb.name}`, label: verb.title, about: `Copies: decalog ${verb.name} …`, icon: 'copy', go: () => void copyText(`decalog ${verb.name} `),
      }))],
    ];
  }, [models, alarms, wish, text, navigate]);
}
