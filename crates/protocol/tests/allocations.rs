//! Nothing is allocated or repeated as often as a number says that came from outside and was not
//! held against a limit. Each place in the rooms that read what others send is a constant, or is
//! listed here with the reason why it is bounded.

use std::path::{Path, PathBuf};

/// The rooms that read what callers, workers and models send.
const ROOMS: &[&str] = &["protocol", "worker", "gateway", "onnx"];
/// What takes a number of elements.
const TAKES: &[&str] = &[
    "vec![",
    "with_capacity(",
    "reserve(",
    "reserve_exact(",
    "repeat(",
    "repeat_n(",
    "resize(",
    "put_bytes(",
];
/// File, number, and why it is bounded.
const BOUNDED: &[(&str, &str, &str)] = &[
    (
        "gateway/src/body.rs",
        "announced.unwrap_or(0).min(config.body_bytes_max as u64) as usize",
        "the longest body; the budget of bytes has it",
    ),
    (
        "gateway/src/coding.rs",
        "begin + step",
        "by the limit of a body, which ends it, and memory is taken first",
    ),
    ("gateway/src/coding.rs", "bytes.len() / 2", "by an answer that is there"),
    ("gateway/src/redact.rs", "bytes", "the bytes of the column that it stands for"),
    ("gateway/src/redact.rs", "rows", "the rows that were read"),
    ("protocol/src/answer.rs", "given.len()", "the parts that were read"),
    ("protocol/src/answer/column.rs", "rows + 1", "the rows that were sent: ROWS_MAX"),
    ("protocol/src/answer/part.rs", "tensors.len()", "the tensors that were read"),
    ("protocol/src/answer/part.rs", "self.columns.len()", "the columns that were read"),
    ("protocol/src/answer/join.rs", "names.len()", "held against CELLS_MAX"),
    ("protocol/src/answer/join.rs", "rows", "rows of one request: ROWS_MAX"),
    ("protocol/src/answer/join.rs", "valid.len() + range.len()", "rows of one request: ROWS_MAX"),
    ("protocol/src/cells.rs", "capacity", "by the length of the text"),
    ("protocol/src/cells.rs", "self.rows", "rows that were read: ROWS_MAX"),
    (
        "protocol/src/cells.rs",
        "self.data.len().min(left).max(8 * size)",
        "by the length of the text",
    ),
    (
        "protocol/src/oip/data.rs",
        "plausible * datatype.size().unwrap_or(4)",
        "by the length of the text",
    ),
    ("protocol/src/encoded.rs", "begin + length", "the bytes that are there"),
    ("protocol/src/oip/response.rs", "request.len()", "OUTPUTS_MAX"),
    (
        "protocol/src/oip/response.rs",
        "blobs.iter().map(Bytes::len).sum()",
        "the data that is there",
    ),
    ("protocol/src/payload.rs", "self.columns.len()", "the columns of the schema"),
    ("protocol/src/payload.rs", "self.rows", "ROWS_MAX"),
    ("protocol/src/payload.rs", "rows", "held against FILLED_BYTES_MAX with its columns"),
    ("protocol/src/payload.rs", "schema.inputs.len()", "the columns of the schema"),
    (
        "protocol/src/payload.rs",
        "data.len() + null_bytes(datatype, shape).unwrap_or(0)",
        "its callers hold it against FILLED_BYTES_MAX",
    ),
    ("protocol/src/simple/explain.rs", "schema.inputs.len()", "the columns of the schema"),
    ("protocol/src/simple/synthetic.rs", "length", "ELEMENTS_MAX for the whole column"),
    (
        "protocol/src/worker_wire.rs",
        "cells().map(|(cells, _)| cells.data.len()).sum()",
        "the data that is there",
    ),
    ("protocol/src/worker_wire.rs", "128 + 96 * schema.inputs.len()", "the columns of the schema"),
    (
        "protocol/src/worker_wire.rs",
        "payloads.len() * schema.inputs.len()",
        "the requests of one batch",
    ),
    ("protocol/src/worker_wire.rs", "rows", "ROWS_MAX"),
    ("protocol/src/worker_wire/decode.rs", "row.len()", "TENSORS_MAX"),
    ("protocol/src/worker_wire/decode.rs", "names.len()", "TENSORS_MAX"),
    ("worker/src/bridge.rs", "COPY_BUFFER_BYTES, from", "a constant"),
    ("worker/src/client.rs", "request.blobs.len() + 1", "the pieces that are there"),
    ("worker/src/client.rs", "room.max(4 * 1024)", "RESERVED_BYTES_MAX, or as much as has come"),
    (
        "worker/src/server/reader.rs",
        "length + ALIGNMENT",
        "BODY_BYTES_MAX; untouched pages cost nothing",
    ),
    ("worker/src/server/reader.rs", "0, padding", "below ALIGNMENT"),
    ("worker/src/server/reader.rs", "room", "SMALL_BYTES_MAX"),
    (
        "gateway/src/dispatch.rs",
        "SlotKind::Primary, primary",
        "the concurrency of a replica, as the manifest bounds it",
    ),
    ("gateway/src/dispatch.rs", "rows", "rows of a request that run one by one: ROW_BY_ROW_MAX"),
    ("gateway/src/wire/mod.rs", "text.len()", "the text that is there"),
    ("gateway/src/wire/simple.rs", "128 * rows.count.min(4_096)", "a guess that ends"),
    ("onnx/src/graph.rs", "rows", "rows of a request: ROWS_MAX"),
    ("onnx/src/graph.rs", "signature.inputs.len()", "the inputs of the graph"),
    ("onnx/src/graph.rs", "feeds.len()", "the inputs of the graph"),
    ("onnx/src/graph.rs", "wanted.len()", "the outputs of the graph"),
    ("onnx/src/input.rs", "data.len() / size_of::<T>()", "the data that is there"),
    (
        "onnx/src/output.rs",
        "texts.iter().map(|text| 4 + text.len()).sum()",
        "the data that is there",
    ),
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            sources(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// What stands between the bracket before `text` and the one that closes it.
fn inside(text: &str) -> &str {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => return &text[..at],
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    text
}

/// Whether a number is known without looking: digits, constants, and what is made of them.
fn is_constant(number: &str) -> bool {
    let words =
        number.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    words
        .into_iter()
        .all(|word| word.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase() || c == '_'))
}

/// The numbers in a file that are no constants.
fn numbers(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut found = vec![];
    for (at, _) in code.char_indices() {
        let Some(takes) = TAKES.iter().find(|takes| code[at..].starts_with(**takes)) else {
            continue;
        };
        let before = code[..at].chars().next_back().unwrap_or(' ');
        if before.is_alphanumeric() || before == '_' || code[..at].ends_with("fn ") {
            continue;
        }
        let arguments = inside(&code[at + takes.len()..]);
        let number = match *takes {
            "vec![" => match arguments.rsplit_once("; ") {
                Some((_, number)) => number,
                None => continue,
            },
            "resize(" => arguments.rsplit_once(", ").map_or(arguments, |(number, _)| number),
            _ => arguments,
        };
        if !is_constant(number) {
            found.push(number.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    found
}

#[test]
fn a_number_from_outside_is_bounded_before_it_is_allocated() {
    let mut unlisted = vec![];
    let mut used = vec![false; BOUNDED.len()];
    for room in ROOMS {
        let mut files = vec![];
        sources(&crates().join(room).join("src"), &mut files);
        for file in files {
            let name = file.strip_prefix(crates()).unwrap().display().to_string();
            for number in numbers(&std::fs::read_to_string(&file).unwrap()) {
                match BOUNDED
                    .iter()
                    .position(|(in_file, listed, _)| *in_file == name && number.ends_with(listed))
                {
                    Some(at) => used[at] = true,
                    None => unlisted.push(format!("{name}: {number}")),
                }
            }
        }
    }
    let stale: Vec<_> = BOUNDED
        .iter()
        .zip(used)
        .filter(|(_, used)| !used)
        .map(|(listed, _)| format!("{listed:?}"))
        .collect();
    assert!(unlisted.is_empty(), "say in BOUNDED why these are bounded:\n{}", unlisted.join("\n"));
    assert!(stale.is_empty(), "not there any more:\n{}", stale.join("\n"));
}

#[test]
fn the_look_at_the_source_sees_what_it_must() {
    assert_eq!(numbers("let a = vec![0; rows]; let b = vec![0; 4 * KIB_MAX];"), ["rows"]);
    assert_eq!(numbers("Vec::with_capacity(\n  shape.iter().sum(),\n)"), ["shape.iter().sum(),"]);
    assert_eq!(
        numbers("data.resize(data.len() + n, 0); text.repeat(n); fn reserve(n: usize) {}"),
        ["data.len() + n", "n"]
    );
}
