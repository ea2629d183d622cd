//! The edge between this program and a terminal. Names, messages and logs come from servers and
//! models: what would move the cursor, change colours or turn the direction of text is shown as
//! `\u{1b}` instead. `println!` and `eprintln!` of this crate are the ones from here, so that no
//! verb can forget it; only JSON goes out as it is.

use std::borrow::Cow;
use std::io::IsTerminal;

/// Prints a line to standard output, escaped.
macro_rules! println {
    ($($text:tt)*) => { std::println!("{}", $crate::terminal::escaped(&std::format!($($text)*))) };
}

/// Prints a line to standard error, escaped.
macro_rules! eprintln {
    ($($text:tt)*) => { std::eprintln!("{}", $crate::terminal::escaped(&std::format!($($text)*))) };
}

/// Whether a character acts on a terminal instead of being shown.
fn acts(c: char) -> bool {
    let turns_direction =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() && !matches!(c, '\n' | '\t') || turns_direction
}

fn escape(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_escaped(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// A text of several lines, as it may be shown.
pub fn escaped(text: &str) -> Cow<'_, str> {
    escape(text, acts)
}

/// A text that must not become several lines, as it may be shown.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escape(text, |c| acts(c) || c == '\n')
}

/// What a model wrote: as it is for a program that reads it from a pipe, escaped for a person.
pub fn as_written(text: &str) -> Cow<'_, str> {
    if std::io::stdout().is_terminal() { escaped(text) } else { Cow::Borrowed(text) }
}

/// How wide the terminal is that reads standard output, in columns: `COLUMNS` if it is set, as for
/// other programs. What is no terminal has no width.
pub fn width() -> Option<usize> {
    width_of(std::io::stdout().is_terminal())
}

/// The same for standard error.
pub fn error_width() -> Option<usize> {
    width_of(std::io::stderr().is_terminal())
}

fn width_of(is_terminal: bool) -> Option<usize> {
    if !is_terminal {
        return None;
    }
    let named = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    Some(named.filter(|columns| *columns > 0).unwrap_or_else(textwrap::termwidth))
}

/// In which colour something is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Colour {
    /// Somebody should look.
    Red,
    /// Something is on its way.
    Yellow,
    /// It is as it should be.
    Green,
    /// It is of little interest.
    Faint,
}

/// A text that was escaped, in a colour, where standard output is a terminal that has colours and
/// nobody asked for none (`NO_COLOR`).
pub fn painted(text: &str, colour: Option<Colour>) -> Cow<'_, str> {
    paint(text, colour.filter(|_| has_colours(std::io::stdout().is_terminal())))
}

/// The same for standard error.
pub fn painted_error(text: &str, colour: Colour) -> Cow<'_, str> {
    paint(text, Some(colour).filter(|_| has_colours(std::io::stderr().is_terminal())))
}

fn has_colours(is_terminal: bool) -> bool {
    let named = |name| std::env::var(name).unwrap_or_default();
    is_terminal && named("NO_COLOR").is_empty() && !matches!(&*named("TERM"), "" | "dumb")
}

fn paint(text: &str, colour: Option<Colour>) -> Cow<'_, str> {
    let code = match colour {
        Some(Colour::Red) => 31,
        Some(Colour::Yellow) => 33,
        Some(Colour::Green) => 32,
        Some(Colour::Faint) => 2,
        None => return Cow::Borrowed(text),
    };
    if text.trim().is_empty() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("\u{1b}[{code}m{text}\u{1b}[0m"))
}

/// JSON, for programs: as it is.
pub fn print_json(value: &impl serde::Serialize) {
    std::println!("{}", serde_json::to_string_pretty(value).unwrap_or_default());
}

/// A size as people read it.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_instead() {
        assert_eq!(escaped("plain – text\n\tof two lines"), "plain – text\n\tof two lines");
        assert_eq!(escaped("a\x1b[2Jb\r\x07\u{9b}1m"), "a\\u{1b}[2Jb\\r\\u{7}\\u{9b}1m");
        assert_eq!(escaped("evil\u{202e}txt.exe"), "evil\\u{202e}txt.exe");
        assert_eq!(one_line("a\nerror: forged"), "a\\nerror: forged");
    }
}
