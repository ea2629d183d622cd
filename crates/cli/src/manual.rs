//! `decalog manual`: shell completions and manual pages, made from the same arguments that are
//! parsed. Hidden, as `make install` is its caller; it writes below one directory and nowhere else.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use domain::{Code, Problem};

use crate::Failure;
use crate::args::Arguments;

/// Where each shell looks for completions, below `share` of a prefix.
const COMPLETIONS: &[(Shell, &str)] = &[
    (Shell::Bash, "bash-completion/completions/decalog"),
    (Shell::Zsh, "zsh/site-functions/_decalog"),
    (Shell::Fish, "fish/vendor_completions.d/decalog.fish"),
];

/// Writes completions and manual pages below `prefix/share`.
pub fn run(prefix: &Path) -> Result<(), Failure> {
    let share = prefix.join("share");
    let written = completions(&share).and_then(|()| pages(&share.join("man/man1")));
    written.map_err(|error| {
        let problem =
            Problem::new(Code::Failed, format!("{} cannot be written: {error}", share.display()));
        problem.help("choose a directory that you may write to: make install PREFIX=DIR").into()
    })
}

fn completions(share: &Path) -> io::Result<()> {
    for (shell, file) in COMPLETIONS {
        let path = share.join(file);
        fs::create_dir_all(path.parent().unwrap_or(share))?;
        let mut script = vec![];
        clap_complete::generate(
            *shell,
            &mut visible(&Arguments::command()),
            "decalog",
            &mut script,
        );
        fs::write(path, script)?;
    }
    Ok(())
}

/// The same command without what is hidden: completions would offer it.
fn visible(command: &Command) -> Command {
    // A command wants names that live as long as the program, which ends right after this.
    let name: &'static str = command.get_name().to_owned().leak();
    Command::new(name)
        .about(command.get_about().cloned().unwrap_or_default())
        .version(
            command.get_version().map(|version| &*version.to_owned().leak()).unwrap_or_default(),
        )
        .disable_version_flag(command.get_version().is_none())
        .args(command.get_arguments().filter(|argument| !argument.is_hide_set()).cloned())
        .subcommands(command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(visible))
}

fn pages(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let source = format!("decalog {}", command.get_version().unwrap_or_default());
    page_of_each(&command, &source, directory)
}

fn page_of_each(command: &Command, source: &str, directory: &Path) -> io::Result<()> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        page_of_each(verb, source, directory)?;
    }
    let man = Man::new(command.clone()).source(source).manual("Decalog");
    let mut page = vec![];
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (prose, examples) = parts(&after);
    if !prose.is_empty() {
        Roff::new().control("PP", []).text([roman(prose)]).to_writer(&mut page)?;
    }
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|verb| !verb.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    if !examples.is_empty() {
        let mut section = Roff::new();
        section.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples.lines() {
            section.text([roman(line.trim_start())]);
        }
        section.control("fi", []).to_writer(&mut page)?;
    }
    fs::write(directory.join(man.get_filename()), page)
}

/// What follows the options in `--help`: prose, then examples under a heading that ends in a colon.
fn parts(after_help: &str) -> (String, String) {
    let mut lines = after_help.lines();
    let is_heading = |line: &str| matches!(line, "Examples:" | "Example:" | "First steps:");
    let prose: Vec<&str> = lines
        .by_ref()
        .take_while(|line| !is_heading(line))
        .filter(|line| !line.is_empty())
        .collect();
    (prose.join(" "), lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn examples_are_told_from_prose() {
        assert_eq!(parts("Examples:\n  a\n  b"), (String::new(), "  a\n  b".into()));
        assert_eq!(parts("It goes\non.\n\nExample:\n  a"), ("It goes on.".into(), "  a".into()));
        assert_eq!(parts(""), Default::default());
    }
}
