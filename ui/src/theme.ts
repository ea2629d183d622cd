import { createTheme, type MantineColorsTuple } from '@mantine/core';

/** The one accent: Okabe and Ito's blue, with lighter and darker steps. */
const accent: MantineColorsTuple = [
  '#eaf4fb', '#d3e6f5', '#a4cbea', '#72afdf', '#4a97d5', '#2a83c6', '#0072b2', '#00629b', '#005283', '#00426b',
];

/** Greys with a little blue, the same in both themes. The last four are the surfaces of the dark one. */
const dark: MantineColorsTuple = [
  '#d7dce2', '#b3bac4', '#97a0ac', '#7d8794', '#465060', '#333c49', '#252d38', '#1a212b', '#141a22', '#0e131a',
];

export const theme = createTheme({
  primaryColor: 'accent',
  primaryShade: 6,
  colors: { accent, dark },
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
  fontSizes: { xs: '0.75rem', sm: '0.8125rem', md: '0.875rem', lg: '1rem', xl: '1.125rem' },
  headings: { fontWeight: '600', sizes: { h1: { fontSize: '1.125rem' }, h2: { fontSize: '0.9375rem' }, h3: { fontSize: '0.875rem' } } },
  defaultRadius: 'sm',
  respectReducedMotion: true,
  focusRing: 'auto',
  components: {
    Button: { defaultProps: { size: 'xs' } },
    ActionIcon: { defaultProps: { variant: 'subtle', color: 'gray' } },
    TextInput: { defaultProps: { size: 'xs' } },
    Select: { defaultProps: { size: 'xs' } },
    SegmentedControl: { defaultProps: { size: 'xs' } },
    Tooltip: { defaultProps: { openDelay: 300, withArrow: true, multiline: true, maw: 360, transitionProps: { duration: 0 }, events: { hover: true, focus: true, touch: true } } },
    Modal: { defaultProps: { closeButtonProps: { 'aria-label': 'Close' }, transitionProps: { duration: 80 }, overlayProps: { backgroundOpacity: 0.4 } } },
    Menu: { defaultProps: { transitionProps: { duration: 0 } } },
    Popover: { defaultProps: { transitionProps: { duration: 0 } } },
    Tabs: { defaultProps: { keepMounted: false } },
  },
});
