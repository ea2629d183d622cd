//! How output fits the terminal: columns of lists, lines that go on below themselves, texts that are
//! cut. Pure: `terminal::width` says how wide it is. What is not for a terminal has no width, and
//! nothing is left out of it.

use std::borrow::Cow;

use textwrap::core::display_width;
use textwrap::{Options, WordSplitter, WrapAlgorithm};

/// Stands for what was cut off.
const CUT: char = '…';
/// Between two columns.
const GAP: &str = "  ";

/// Cuts a text of one line to a width, in columns of the terminal.
pub fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if display_width(text) <= width {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += display_width(c.encode_utf8(&mut [0; 4]));
        if used + 1 > width {
            break;
        }
        shown.push(c);
    }
    shown.push(CUT);
    Cow::Owned(shown)
}

/// Cuts a name to a width, in columns of the terminal: in its middle, as names of one kind begin
/// alike and differ at their ends.
pub fn cut_middle(name: &str, width: usize) -> Cow<'_, str> {
    if display_width(name) <= width {
        return Cow::Borrowed(name);
    }
    let room = width.saturating_sub(1);
    let (head, tail) = (room - room / 3, room / 3);
    let (mut begin, mut end, mut used) = (String::new(), vec![], 0);
    for c in name.chars() {
        used += display_width(c.encode_utf8(&mut [0; 4]));
        if used > head {
            break;
        }
        begin.push(c);
    }
    used = 0;
    for c in name.chars().rev() {
        used += display_width(c.encode_utf8(&mut [0; 4]));
        if used > tail {
            break;
        }
        end.push(c);
    }
    begin.push(CUT);
    begin.extend(end.iter().rev());
    Cow::Owned(if width == 0 { String::new() } else { begin })
}

/// Lets lines of text go on below themselves, `indent` columns in, where they are wider than the
/// terminal.
pub fn wrapped(text: &str, indent: usize, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_string() };
    let lines: Vec<String> =
        text.split('\n').map(|line| wrapped_line(line, indent, width)).collect();
    lines.join("\n")
}

fn wrapped_line(line: &str, indent: usize, width: usize) -> String {
    if display_width(line) <= width {
        return line.to_string();
    }
    let text = line.trim_start();
    let begin = &line[..line.len() - text.len()];
    // On a terminal that is narrower than the indent, it is of no use.
    let below = " ".repeat(indent.min(width / 2));
    let options = Options::new(width)
        .initial_indent(begin)
        .subsequent_indent(&below)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::fill(text, options)
}

/// Fills a text up to a width, in columns of the terminal.
pub fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(display_width(text))))
}

/// A column of a list.
#[derive(Clone, Copy)]
pub struct Column {
    title: &'static str,
    is_right: bool,
    is_name: bool,
    width_min: Option<usize>,
}

impl Column {
    /// One of words.
    pub const fn words(title: &'static str) -> Column {
        Column { title, is_right: false, is_name: false, width_min: None }
    }

    /// One of names, which are cut in the middle.
    pub const fn names(title: &'static str) -> Column {
        Column { is_name: true, ..Column::words(title) }
    }

    /// One of figures, which stand at its right.
    pub const fn figures(title: &'static str) -> Column {
        Column { is_right: true, ..Column::words(title) }
    }

    /// Its texts may be cut, down to this width, in columns of the terminal.
    pub const fn down_to(self, width_min: usize) -> Column {
        Column { width_min: Some(width_min), ..self }
    }
}

/// The lines of a list. On a terminal that is too narrow, the columns named by `left_out` go, one
/// after the other, until the others have room; then the widest that may be are cut.
pub fn list(
    columns: &[Column],
    rows: &[Vec<String>],
    left_out: &[&str],
    width: Option<usize>,
) -> Vec<String> {
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let mut widths: Vec<usize> = (0..columns.len())
        .map(|at| {
            let cells = rows.iter().map(|row| display_width(&row[at]));
            cells.chain([display_width(columns[at].title)]).max().unwrap_or(0)
        })
        .collect();
    if let Some(width) = width {
        let least = |at: usize| columns[at].width_min.unwrap_or(usize::MAX).min(widths[at]);
        for title in left_out {
            if whole(shown.iter().map(|&at| least(at))) <= width {
                break;
            }
            shown.retain(|&at| columns[at].title != *title);
        }
        let least: Vec<usize> = (0..columns.len()).map(least).collect();
        while whole(shown.iter().map(|&at| widths[at])) > width {
            let may_shrink = shown.iter().copied().filter(|&at| widths[at] > least[at]);
            let Some(widest) = may_shrink.max_by_key(|&at| widths[at]) else { break };
            widths[widest] -= 1;
        }
    }
    let line = |cells: Vec<&str>| {
        let cells = shown.iter().map(|&at| cell(cells[at], &columns[at], widths[at]));
        let line = cells.collect::<Vec<_>>().join(GAP);
        let line = line.trim_end();
        width.map_or(line.to_string(), |width| cut(line, width).into_owned())
    };
    let titles = columns.iter().map(|column| column.title).collect();
    let rows = rows.iter().map(|row| row.iter().map(String::as_str).collect());
    [titles].into_iter().chain(rows).map(line).collect()
}

/// The width of a line of columns.
fn whole(widths: impl ExactSizeIterator<Item = usize>) -> usize {
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    widths.sum::<usize>() + gaps
}

fn cell(text: &str, column: &Column, width: usize) -> String {
    let text = if column.is_name { cut_middle(text, width) } else { cut(text, width) };
    match column.is_right {
        true => format!("{}{text}", " ".repeat(width.saturating_sub(display_width(&text)))),
        false => padded(&text, width),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::names("MODEL").down_to(12),
        Column::figures("P50"),
        Column::figures("P99"),
        Column::words("STATE").down_to(10),
    ];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 4]| cells.map(String::from).to_vec();
        vec![
            row(["customer-churn-by-region", "1.0 ms", "12.5 ms", ""]),
            row(["顧客", "–", "–", "no replica is ready"]),
        ]
    }

    fn list_at(width: Option<usize>) -> Vec<String> {
        list(&COLUMNS, &rows(), &["P50"], width)
    }

    #[test]
    fn a_list_has_its_full_width_where_there_is_room() {
        let lines = [
            "MODEL                        P50      P99  STATE",
            "customer-churn-by-region  1.0 ms  12.5 ms",
            "顧客                           –        –  no replica is ready",
        ];
        assert_eq!(list_at(None), lines);
        assert_eq!(list_at(Some(62)), lines);
    }

    #[test]
    fn a_list_fits_a_narrow_terminal() {
        assert_eq!(
            list_at(Some(48)),
            [
                "MODEL               P50      P99  STATE",
                "customer-c…gion  1.0 ms  12.5 ms",
                "顧客                  –        –  no replica is…",
            ]
        );
        assert_eq!(
            list_at(Some(36)),
            [
                "MODEL              P99  STATE",
                "customer…gion  12.5 ms",
                "顧客                 –  no replica …",
            ]
        );
        for width in 1..80 {
            let lines = list_at(Some(width));
            assert!(lines.iter().all(|line| display_width(line) <= width), "{width}: {lines:?}");
        }
    }

    #[test]
    fn a_long_line_goes_on_below_itself() {
        let line = "  ok       uv              /a/path/that/nobody/would/want/to/break and more";
        assert_eq!(wrapped(line, 27, None), line);
        assert_eq!(
            wrapped(line, 4, Some(40)),
            "  ok       uv\n    /a/path/that/nobody/would/want/to/br\n    eak and more"
        );
        for width in 1..80 {
            let text = wrapped(line, 27, Some(width));
            let squeezed = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(squeezed(&text), squeezed(line));
            assert!(width < 8 || text.lines().all(|line| display_width(line) <= width), "{text}");
        }
    }
}
