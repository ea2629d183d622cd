import { ActionIcon, Tooltip, useMantineColorScheme } from '@mantine/core';
import { Icon } from '../parts/Icon';

const NEXT = { auto: 'light', light: 'dark', dark: 'auto' } as const;
const NAMES = { auto: 'as the system', light: 'light', dark: 'dark' } as const;
const ICONS = { auto: 'screen', light: 'sun', dark: 'moon' } as const;

/** As the system, light, dark, and round again. The browser remembers it. */
export function ThemeSwitch() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const label = `Theme: ${NAMES[colorScheme]}`;
  return (
    <Tooltip label={label}>
      <ActionIcon aria-label={label} onClick={() => setColorScheme(NEXT[colorScheme])}>
        <Icon name={ICONS[colorScheme]} />
      </ActionIcon>
    </Tooltip>
  );
}
