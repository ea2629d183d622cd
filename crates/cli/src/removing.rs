//! `decalog rm`: what is live goes only if somebody says so.

use std::io::{BufRead, IsTerminal};

use control::view::ModelView;
use domain::reference::Selector;
use domain::{Code, Problem, Reference};

use crate::Failure;
use crate::client::Client;
use crate::show::{named, path_of, reference};

/// Runs the verb.
pub fn run(client: &Client, model: &str, yes: bool) -> Result<(), Failure> {
    let reference = reference(model)?;
    if let Some(environment) = &reference.environment {
        let name = named(&reference.model);
        let text = format!("a model is removed as a whole, not from {environment} alone");
        let help = format!("decalog rm {name} removes it everywhere, with all its versions");
        return Err(Problem::new(Code::BadReference, text).help(help).into());
    }
    if let Some(Selector::Number(number)) = &reference.selector {
        client.delete(&format!("{}/versions/{number}", path_of(&reference)))?;
        eprintln!(
            "{number} of {} is removed; its files go with the next decalog gc",
            named(&reference.model)
        );
        return Ok(());
    }
    if !yes {
        let view: ModelView = client.get(&path_of(&reference))?;
        if !view.live.is_empty() {
            agree(&reference, &view)?;
        }
    }
    client.delete(&path_of(&reference))?;
    eprintln!("{} is removed; its files go with the next decalog gc", named(&reference.model));
    Ok(())
}

/// Asks whoever is there, and takes nothing but the model's name for a yes.
fn agree(reference: &Reference, view: &ModelView) -> Result<(), Problem> {
    let places: Vec<String> = view
        .live
        .iter()
        .map(|(environment, version)| format!("{version} in {environment}"))
        .collect();
    let name = named(&reference.model);
    let text = format!("{name} is live: {}", places.join(", "));
    let versions = match view.versions.len() {
        1 => "its version".into(),
        count => format!("all its {count} versions"),
    };
    let kept = |text: String| {
        let help = format!("decalog rm {name} --yes removes it with {versions}");
        Problem::new(Code::InUse, text).help(help)
    };
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(kept(text));
    }
    eprintln!("{text}. Requests for it would be refused, and {versions} be gone.");
    std::eprint!("To remove it, type its name: ");
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    let typed = line.trim();
    let is_name = typed == view.name.as_str() || typed == reference.model.to_string();
    match read.is_ok() && is_name {
        true => Ok(()),
        false => Err(kept(format!("{name} is not removed"))),
    }
}
