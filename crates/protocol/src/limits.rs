//! What a payload may have at most, whoever names it: a caller, a worker or a schema. A number from
//! outside is held against one of these before anything is allocated or looped over for it.

use serde_json::value::RawValue;

/// The most rows of one request, and so of one answer.
pub const ROWS_MAX: usize = 1 << 20;
/// The most dimensions of a tensor, or levels of an array.
pub const DIMENSIONS_MAX: usize = 16;
/// The most dimensions that are read; more than a tensor may have, so that the refusal can say how
/// many there are.
pub const DIMENSIONS_READ_MAX: usize = 256;
/// The most elements of a tensor.
pub const ELEMENTS_MAX: usize = 1 << 31;
/// The most places of a tensor without elements: the product of the dimensions that are not 0.
/// `[1000, 0]` has 1,000, each of which is written as `[]`.
pub const EMPTY_PLACES_MAX: usize = ROWS_MAX;
/// The most tensors of one request or answer.
pub const TENSORS_MAX: usize = 1 << 14;
/// The most parts of an answer: rows beside each other that have the same outputs.
pub const PARTS_MAX: usize = 1 << 16;
/// The most rows of one request to a model that is given its rows one by one. Each takes a round
/// trip to the worker, and its answer some hundred bytes beside its data.
pub const ROW_BY_ROW_MAX: usize = 4_096;
/// The most parts of a form.
pub const FORM_PARTS_MAX: usize = 1 << 12;
/// The most outputs that a request may name.
pub const OUTPUTS_MAX: usize = 1024;
/// The longest name of a tensor or an output, and the longest id of a request, in bytes.
pub const NAME_BYTES_MAX: usize = 1024;
/// The largest parameters of a request or of one of its tensors, in bytes of JSON.
pub const PARAMETERS_BYTES_MAX: usize = 64 * 1024;
/// The most bytes that stand in for what the rows of one request leave out or set to `null`. A row
/// of `{}` is three bytes long, and what stands in for its missing image a million.
pub const FILLED_BYTES_MAX: usize = 64 << 20;
/// The deepest JSON of one element. Readers of JSON refuse more, or overflow their stack.
pub const JSON_DEPTH_MAX: usize = 128;
/// The most columns that an error lists.
pub const NAMES_SHOWN_MAX: usize = 20;
/// The most wrong fields that one error lists.
pub const DETAILS_MAX: usize = 20;
/// What an error shows of a name, in characters.
pub const NAME_SHOWN_CHARS_MAX: usize = 64;
/// What an error shows of a value, in characters.
pub const VALUE_SHOWN_CHARS_MAX: usize = 60;
/// What an error shows of another program's sentence, in characters.
pub const SENTENCE_CHARS_MAX: usize = 300;

/// The beginning of a text that somebody else chose the length of, on one line.
pub fn cut(text: &str, chars_max: usize) -> String {
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(at, _)| at);
    let mut short: String =
        text[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if end < text.len() {
        short.push('…');
    }
    short
}

/// A name as errors show it.
pub fn shown_name(name: &str) -> String {
    cut(name, NAME_SHOWN_CHARS_MAX)
}

/// A value as a person recognises it, short.
pub fn shown_value(raw: &RawValue) -> String {
    let short = cut(raw.get(), VALUE_SHOWN_CHARS_MAX);
    match raw.get().as_bytes().first() {
        Some(b'"') => format!("the string {short}"),
        Some(b'[') => format!("the array {short}"),
        Some(b'{') => format!("the object {short}"),
        _ => short,
    }
}

/// Names, as many as an error lists.
pub fn shown_names<'a>(names: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut shown: Vec<String> = names.clone().take(NAMES_SHOWN_MAX).map(shown_name).collect();
    let others = names.skip(NAMES_SHOWN_MAX).count();
    if others > 0 {
        shown.push(format!("{others} more"));
    }
    shown.join(", ")
}

/// Whether JSON is nested deeper than [`JSON_DEPTH_MAX`].
pub fn is_deep(json: &str) -> bool {
    // Each level has a byte where it begins and one where it ends.
    if json.len() <= 2 * JSON_DEPTH_MAX {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                if depth > JSON_DEPTH_MAX {
                    return true;
                }
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_what_is_open_at_once() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(!is_deep(&nested(JSON_DEPTH_MAX)));
        assert!(is_deep(&nested(JSON_DEPTH_MAX + 1)));
        assert!(!is_deep(&format!("[{}1]", "[],".repeat(1_000))));
        assert!(!is_deep(&format!("[\"{}\"]", "[\\\"".repeat(1_000))));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("héllo", 2), "hé…");
        assert_eq!(cut("a\nb", 3), "a b");
        assert_eq!(
            shown_names(["a"; 30].into_iter()),
            format!("{}, 10 more", ["a"; 20].join(", "))
        );
    }
}
