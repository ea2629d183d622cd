//! The parts of a form, as `multipart/form-data` (RFC 7578) has them. The body lies there as a whole,
//! so that parts are slices of it.

use std::borrow::Cow;

use domain::{Code, Problem};
use memchr::memmem::Finder;

use crate::limits::{FORM_PARTS_MAX, NAME_BYTES_MAX, shown_name};

/// The longest head of a part, in bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// The most lines that it may have.
const HEAD_LINES_MAX: usize = 16;
/// The longest boundary, as RFC 2046 says.
const BOUNDARY_BYTES_MAX: usize = 70;

/// One part of a form.
#[derive(Clone, PartialEq, Debug)]
pub struct Part<'b> {
    /// Of its field.
    pub name: String,
    /// Whether it is a file: it has a file's name.
    pub is_file: bool,
    /// Whether it says that it is JSON.
    pub is_json: bool,
    /// What it holds.
    pub content: &'b [u8],
}

fn bad(text: impl Into<String>) -> Problem {
    Problem::new(Code::BadRequest, text)
        .help("send a part for each column, as `curl -F column=@FILE -F other=text` does")
}

/// What lies between the parts of a form, out of its content type.
pub fn boundary(content_type: &str) -> Result<String, Problem> {
    let found = parameter(content_type, "boundary").filter(|boundary| {
        (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()) && boundary.is_ascii()
    });
    found.map(Cow::into_owned).ok_or_else(|| {
        bad(format!("the form's Content-Type has no boundary of up to {BOUNDARY_BYTES_MAX} bytes"))
    })
}

/// Takes a form apart.
pub fn parts<'b>(body: &'b [u8], boundary: &str) -> Result<Vec<Part<'b>>, Problem> {
    let delimiter = format!("\r\n--{boundary}");
    let finder = Finder::new(delimiter.as_bytes());
    // The first boundary may begin the body, or follow a line that means nothing.
    let mut rest = match body.strip_prefix(&delimiter.as_bytes()[2..]) {
        Some(rest) => rest,
        None => split(body, &finder).ok_or_else(|| bad("the form has no boundary in it"))?.1,
    };
    let mut parts = vec![];
    loop {
        // Spaces may follow a boundary.
        let line = rest.trim_ascii_start_of_line();
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        let Some(part) = line.strip_prefix(b"\r\n") else {
            return Err(bad("the form is damaged behind one of its boundaries"));
        };
        if parts.len() == FORM_PARTS_MAX {
            return Err(bad(format!("the form has more than {FORM_PARTS_MAX} parts")));
        }
        let (part, behind) =
            split(part, &finder).ok_or_else(|| bad("the form ends within one of its parts"))?;
        parts.push(read(part)?);
        rest = behind;
    }
}

trait Line {
    fn trim_ascii_start_of_line(&self) -> &[u8];
}

impl Line for [u8] {
    /// Without the spaces and tabs at its begin.
    fn trim_ascii_start_of_line(&self) -> &[u8] {
        let blank = self.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        &self[blank..]
    }
}

/// What lies before the next boundary, and behind it. The same bytes within a longer line are none.
fn split<'b>(bytes: &'b [u8], finder: &Finder<'_>) -> Option<(&'b [u8], &'b [u8])> {
    let length = finder.needle().len();
    let ends = |at: &usize| {
        let behind = &bytes[at + length..];
        behind.starts_with(b"--") || behind.trim_ascii_start_of_line().starts_with(b"\r\n")
    };
    let at = finder.find_iter(bytes).find(ends)?;
    Some((&bytes[..at], &bytes[at + length..]))
}

/// Reads a part: its head, an empty line, what it holds.
fn read(part: &[u8]) -> Result<Part<'_>, Problem> {
    let mut lines = [httparse::EMPTY_HEADER; HEAD_LINES_MAX];
    let head = &part[..part.len().min(HEAD_BYTES_MAX)];
    let parsed = match httparse::parse_headers(head, &mut lines) {
        Ok(httparse::Status::Complete(parsed)) => parsed,
        Ok(httparse::Status::Partial) if part.len() > HEAD_BYTES_MAX => {
            return Err(bad(format!("a part has a head of more than {HEAD_BYTES_MAX} bytes")));
        }
        Ok(httparse::Status::Partial) => return Err(bad("a part has no end of its head")),
        Err(error) => return Err(bad(format!("the head of a part cannot be read: {error}"))),
    };
    let (length, lines) = parsed;
    let line = |name: &str| {
        let line = lines.iter().find(|line| line.name.eq_ignore_ascii_case(name));
        line.and_then(|line| std::str::from_utf8(line.value).ok())
    };
    let disposition = line("content-disposition").unwrap_or_default();
    let kind = disposition.split(';').next().unwrap_or_default().trim();
    let name = parameter(disposition, "name").filter(|_| kind.eq_ignore_ascii_case("form-data"));
    let Some(name) = name else {
        return Err(bad("a part has no name: `Content-Disposition: form-data; name=\"column\"`"));
    };
    if name.len() > NAME_BYTES_MAX {
        let text = format!(
            "the part `{}` has a name of {} bytes; at most {NAME_BYTES_MAX} are allowed",
            shown_name(&name),
            name.len()
        );
        return Err(bad(text));
    }
    let encoding = line("content-transfer-encoding").unwrap_or("binary").trim();
    if !["binary", "8bit", "7bit"].iter().any(|plain| encoding.eq_ignore_ascii_case(plain)) {
        let text =
            format!("the part `{}` is encoded as {}", shown_name(&name), shown_name(encoding));
        return Err(bad(text).help("send its bytes as they are"));
    }
    Ok(Part {
        is_file: parameter(disposition, "filename").is_some()
            || parameter(disposition, "filename*").is_some(),
        is_json: line("content-type").is_some_and(is_json),
        name: field(&name),
        content: &part[length..],
    })
}

/// Whether a content type is one of JSON.
pub fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let suffix = essence.len().checked_sub(5).and_then(|at| essence.get(at..));
    essence.eq_ignore_ascii_case("application/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
}

/// The name of a field as it was before a browser, or curl, wrote it.
fn field(name: &str) -> String {
    name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n")
}

/// A parameter behind a value, as in `form-data; name="image"`.
fn parameter<'h>(header: &'h str, wanted: &str) -> Option<Cow<'h, str>> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, behind) = rest.split_once('=')?;
        let (value, behind) = match behind.trim_start().strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = behind.find(';').unwrap_or(behind.len());
                (Cow::Borrowed(behind[..end].trim()), &behind[end..])
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = behind.split_once(';')?.1;
    }
}

/// What stands between quotes, and behind them.
fn unquoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let (mut escaped, mut has_escapes) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '"' => {
                let (inside, behind) = (&text[..at], &text[at + 1..]);
                let inside = match has_escapes {
                    false => Cow::Borrowed(inside),
                    true => Cow::Owned(inside.replace("\\\"", "\"").replace("\\\\", "\\")),
                };
                return Some((inside, behind));
            }
            // Only these are escaped: browsers send other backslashes as they are.
            '\\' if text[at + 1..].starts_with(['"', '\\']) => {
                (escaped, has_escapes) = (true, true);
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
