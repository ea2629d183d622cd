//! `decalog env`: variables and secrets.

use std::io::{IsTerminal, Read};

use control::Variable;
use domain::{Code, Problem};
use serde_json::{Value, json};

use crate::Failure;
use crate::args::{EnvVerb, Scope};
use crate::client::Client;
use crate::layout::cut;
use crate::terminal::{one_line, print_json, width};

fn path(of: &Scope) -> String {
    format!("/v1/projects/{}/environments/{}/variables", of.project, of.env)
}

fn query(of: &Scope) -> String {
    of.model.as_ref().map_or(String::new(), |model| format!("?model={model}"))
}

/// Runs the verb.
pub fn run(client: &Client, verb: EnvVerb, as_json: bool) -> Result<(), Failure> {
    match verb {
        EnvVerb::Set { setting, secret, reference, ahead, of } => {
            let (name, value) = match setting.split_once('=') {
                Some((name, value)) => (name.to_string(), value.to_string()),
                None => (setting.clone(), typed(&setting)?),
            };
            let mut body = json!({ "value": value, "secret": secret, "model": of.model });
            if reference {
                body["reference"] = true.into();
            }
            if ahead {
                body["ahead"] = true.into();
            }
            let set = client.put(&format!("{}/{name}", path(&of)), &body)?;
            match set["changed"] == false {
                true => eprintln!("{name} has that value already"),
                false => {
                    let whose = match &of.model {
                        Some(model) => format!("of {model}"),
                        None => format!("for all models of the project {}", of.project),
                    };
                    let place = &of.env;
                    eprintln!(
                        "{name} is set {whose}, in {place}; live replicas are replaced by ones that have it"
                    )
                }
            }
        }
        EnvVerb::Protect { of, signed: true, .. } => crate::trust::require(client, &of, true)?,
        EnvVerb::Unprotect { of, signed: true } => crate::trust::require(client, &of, false)?,
        EnvVerb::Protect { of, approvals, .. } => {
            crate::proposals::protect(client, &of, approvals.unwrap_or(1))?
        }
        EnvVerb::Unprotect { of, .. } => crate::proposals::protect(client, &of, 0)?,
        EnvVerb::Unset { name, of } => {
            client.delete(&format!("{}/{name}{}", path(&of), query(&of)))?;
            eprintln!("{name} is removed");
        }
        EnvVerb::Ls { of } => {
            let listed: Value = client.get(&format!("{}{}", path(&of), query(&of)))?;
            if as_json {
                print_json(&listed);
                return Ok(());
            }
            let variables: Vec<Variable> =
                serde_json::from_value(listed["variables"].clone()).unwrap_or_default();
            for variable in variables {
                println!("{}", line(&variable, width()));
            }
        }
    }
    Ok(())
}

/// The value of a variable from standard input.
fn typed(name: &str) -> Result<String, Problem> {
    if std::io::stdin().is_terminal() {
        eprintln!("type the value of {name}, then Ctrl-D on a line of its own");
    }
    let mut value = String::new();
    std::io::stdin().read_to_string(&mut value).map_err(|error| {
        Problem::new(Code::NoInput, format!("standard input cannot be read: {error}"))
    })?;
    match value.trim_end_matches(['\r', '\n']) {
        "" => Err(Problem::new(Code::NoInput, format!("standard input has no value for {name}"))
            .help(format!(
                "decalog env set {name} --secret < FILE; decalog env set {name}= sets an empty variable"
            ))),
        value => Ok(value.to_string()),
    }
}

/// A variable as a person reads it: on a terminal it takes one line, and a long value is cut.
fn line(variable: &Variable, width: Option<usize>) -> String {
    let kept = variable.reference.as_deref().unwrap_or("(secret)");
    let value = variable.value.as_deref().unwrap_or(kept);
    let setting = format!("{}={}", one_line(&variable.name), one_line(value));
    let own = if variable.own { "  (of the model)" } else { "" };
    match width {
        Some(width) => format!("{}{own}", cut(&setting, width.saturating_sub(own.len()))),
        None => format!("{setting}{own}"),
    }
}
