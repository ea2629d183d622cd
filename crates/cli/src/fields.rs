//! A row as columns on the command line, `NAME=TEXT` and `NAME=@FILE`: sent as a form, whose parts the
//! server reads as what each column is.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Read;
use std::path::Path;

use domain::{Code, Problem};

/// Whether an argument is a column with its value, and neither JSON nor the name of a file.
pub fn is_field(argument: &str) -> bool {
    let is_other = argument.starts_with(['{', '[', '@', '=']) || Path::new(argument).exists();
    argument.contains('=') && !is_other
}

/// The content type and the body of a form with these columns.
pub fn form(fields: &[String]) -> Result<(String, Vec<u8>), Problem> {
    let random = || RandomState::new().build_hasher().finish();
    let boundary = format!("decalog-{:016x}{:016x}", random(), random());
    let mut body = vec![];
    for field in fields {
        let Some((name, value)) = field.split_once('=').filter(|_| is_field(field)) else {
            return Err(Problem::new(Code::BadOption, format!("{field} is not a column"))
                .help("write COLUMN=VALUE, or COLUMN=@FILE; or one row in JSON"));
        };
        let (file, content) = match value.strip_prefix('@') {
            Some(file) => ("; filename=\"file\"", content(name, file)?),
            None => ("", value.as_bytes().to_vec()),
        };
        let name = name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((format!("multipart/form-data; boundary={boundary}"), body))
}

fn content(name: &str, file: &str) -> Result<Vec<u8>, Problem> {
    let mut bytes = vec![];
    let read = match file {
        "-" => std::io::stdin().read_to_end(&mut bytes).map(|_| bytes),
        file => std::fs::read(file),
    };
    read.map_err(|error| {
        Problem::new(Code::NoInput, format!("{file}, for {name}, cannot be read: {error}")).help(
            format!("a text that begins with @ goes into JSON: '{{\"{name}\": \"@{file}\"}}'"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_no_json_and_no_file() {
        for field in ["age=42", "image=@scan.png", "text=", "a b={\"x\": 1}", "x=-1"] {
            assert!(is_field(field), "{field}");
        }
        for other in ["{\"a\": \"b=c\"}", "@a=b.json", "=x", "people.csv", "-", "[1]"] {
            assert!(!is_field(other), "{other}");
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a=b.csv");
        std::fs::write(&file, "").unwrap();
        assert!(!is_field(file.to_str().unwrap()));
    }

    #[test]
    fn a_form_has_a_part_for_each_column() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("scan.png");
        std::fs::write(&file, b"\xff\r\n").unwrap();
        let fields = [format!("ima\"ge=@{}", file.display()), "top=3".into()];
        let (kind, body) = form(&fields).unwrap();
        let boundary = protocol::multipart::boundary(&kind).unwrap();
        let parts = protocol::multipart::parts(&body, &boundary).unwrap();
        let parts: Vec<_> =
            parts.iter().map(|part| (part.name.as_str(), part.is_file, part.content)).collect();
        assert_eq!(parts, [("ima\"ge", true, &b"\xff\r\n"[..]), ("top", false, b"3")]);
        assert!(form(&["a=1".into(), "b".into()]).unwrap_err().message.contains("b is not"));
        let missing = form(&["handle=@ann".into()]).unwrap_err();
        assert!(missing.help.contains(r#"'{"handle": "@ann"}'"#), "{missing}");
    }
}
