//! The graph in the language of Graphviz.

use std::fmt::Write;

use domain::Lineage;

/// Digits of a digest in a label, and of a commit.
const DIGITS: usize = 12;

/// A text in quotes. Nothing in it ends them, and it stays on one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn short(text: &str) -> String {
    text.chars().take(DIGITS).collect()
}

/// The whole graph.
pub fn of(lineage: &Lineage) -> String {
    let mut dot = String::new();
    let name = format!("{}/{}", lineage.project, lineage.model);
    let _ = writeln!(dot, "digraph {} {{", quoted(&name));
    let _ = writeln!(dot, "  rankdir=LR;\n  node [fontname=\"sans-serif\"];");
    let mut node = |id: &str, shape: &str, label: String| {
        let _ = writeln!(dot, "  {} [shape={shape}, label={}];", quoted(id), quoted(&label));
    };
    for data in &lineage.data {
        let name = data.names.join(", ");
        node(&data.id, "cylinder", format!("{name} {}", data.digest.short()));
    }
    for code in &lineage.code {
        let changes = if code.is_dirty { " with changes" } else { "" };
        node(&code.id, "note", format!("{}{changes}", short(&code.commit)));
    }
    for packages in &lineage.packages {
        let label = format!("Python {}, {} packages", packages.python, packages.packages.len());
        node(&packages.id, "component", label);
    }
    for version in &lineage.versions {
        let live: Vec<&str> = version.live.iter().map(|of| of.as_str()).collect();
        let live = match live.is_empty() {
            true => String::new(),
            false => format!(", live in {}", live.join(", ")),
        };
        let shape = if version.is_removed { "box, style=dashed" } else { "box" };
        node(&version.id, shape, format!("{} {}{live}", version.version, version.digest.short()));
    }
    for release in &lineage.releases {
        let label = format!("{} in {}", release.version, release.environment);
        node(&release.id, "rarrow", label);
    }
    for asked in &lineage.requests {
        node(&asked.id, "ellipse", format!("{} requests in {}", asked.count, asked.environment));
    }
    for edge in &lineage.edges {
        let (from, to) = (quoted(&edge.from), quoted(&edge.to));
        let _ = writeln!(dot, "  {from} -> {to} [label={}];", quoted(edge.is.as_str()));
    }
    dot.push_str("}\n");
    dot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_text() {
        assert_eq!(quoted("a\"];\n} \\"), r#""a\"]; } \\""#);
    }
}
