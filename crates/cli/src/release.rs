//! The verbs that move traffic: release, promote, rollback, and how a release goes.

use control::view::ReleaseView;
use domain::guard::Guard;
use domain::reference::Selector;
use domain::release::{Cause, Plan};
use domain::state::Outcome;
use domain::{Code, DeploymentId, EnvironmentName, Problem, Reference};
use serde_json::{Value, json};

use crate::Failure;
use crate::args::{PlanOptions, ReleaseOptions};
use crate::client::Client;
use crate::duration;
use crate::following::{explain_interruption, follow};
use crate::layout::wrapped;
use crate::show::{failed, path_of, reference};
use crate::terminal::{print_json, width};

fn bad_option(text: String) -> Problem {
    Problem::new(Code::BadOption, text).help("decalog release --help")
}

fn percent(text: &str) -> Result<u8, Problem> {
    let digits = text.trim().trim_end_matches('%');
    digits
        .parse()
        .map_err(|_| bad_option(format!("`{text}` is not a share in percent: write 5 or 20%")))
}

/// The plan that options ask for.
pub fn plan(options: &PlanOptions) -> Result<Plan, Problem> {
    let canary = options
        .canary
        .iter()
        .flat_map(|steps| steps.split(','))
        .map(percent)
        .collect::<Result<Vec<u8>, _>>()?;
    let guards: Result<Vec<Guard>, Problem> = options
        .guards
        .iter()
        .map(|text| text.parse::<Guard>().map_err(|error| bad_option(error.to_string())))
        .collect();
    let plan = Plan {
        canary,
        shadow: options.shadow.as_deref().map(percent).transpose()?,
        every_ms: options.every.as_deref().map(duration::milliseconds).transpose()?,
        guards: guards?,
        sticky: options.sticky.clone(),
        rehearse: options.rehearse,
        breaking: options.breaking,
        untested: options.untested,
        cause: Cause::Deploy,
    };
    plan.validate().map_err(|error| bad_option(error.to_string()))?;
    Ok(plan)
}

/// `decalog release`
pub fn run(client: &Client, options: ReleaseOptions, as_json: bool) -> Result<(), Failure> {
    let action = options.what.as_str();
    let Some(model) = options.model.as_deref() else { return release(client, options, as_json) };
    let reference = in_environment(model, options.env.as_deref())?;
    let environment = reference.environment();
    let path = format!("{}/release", path_of(&reference));
    let view: ReleaseView = match action {
        "status" => client.get(&format!("{path}?environment={environment}"))?,
        "pause" | "resume" | "abort" => {
            client.post(&format!("{path}/{action}"), &json!({ "environment": environment }))?
        }
        _ => {
            return Err(bad_option(format!(
                "`decalog release {action} {model}`: the first word must be status, pause, resume or abort"
            ))
            .into());
        }
    };
    if as_json {
        print_json(&view);
    } else {
        print_status(&reference, &view);
    }
    Ok(())
}

fn in_environment(text: &str, environment: Option<&str>) -> Result<Reference, Problem> {
    let mut reference = reference(text)?;
    if let Some(environment) = environment {
        reference.environment = Some(environment_name(environment)?);
    }
    Ok(reference)
}

/// The name of an environment.
pub fn environment_name(text: &str) -> Result<EnvironmentName, Problem> {
    text.parse()
        .map_err(|error: domain::id::NameError| Problem::new(Code::BadName, error.to_string()))
}

fn print_status(reference: &Reference, view: &ReleaseView) {
    let columns = width();
    let print = |line: String, indent: usize| {
        println!("{}", wrapped(line.trim_end(), indent, columns));
    };
    let what = format!("{} {} in {}", reference.model.model, view.version, view.environment);
    print(format!("{what}, requested by {}: {}", view.actor, view.plan), 2);
    let now = match (&view.outcome, &view.progress) {
        (Outcome::Running, Some(progress)) => {
            let paused = if progress.paused { ", paused" } else { "" };
            let kind = if progress.phase.shadow { "shadow" } else { "canary" };
            format!("{kind}{paused}: {}", progress.phase.told(progress.baseline))
        }
        (Outcome::Running, None) => "is built and tested; no traffic yet".into(),
        (Outcome::Live, _) => "live".into(),
        (Outcome::Failed { step, problem }, _) => failed(step, &problem.to_string()),
    };
    print(format!("  now        {now}"), 13);
    if let Some(rehearsal) = &view.rehearsed {
        print(format!("  rehearsal  {}", rehearsal.headline()), 13);
        // What ended the release is said with its problem.
        let is_told = matches!(&view.outcome, Outcome::Failed { step, .. } if step == "rehearsal");
        if !is_told {
            let lines = rehearsal.lines().into_iter();
            lines.for_each(|line| print(format!("             {line}"), 15));
        }
    }
    view.said.lines().for_each(|line| print(format!("  {line}"), 6));
}

/// `decalog release churn@v4 …`
fn release(client: &Client, options: ReleaseOptions, as_json: bool) -> Result<(), Failure> {
    if ["status", "pause", "resume", "abort"].contains(&options.what.as_str()) {
        let text = format!("which model's release? decalog release {} MODEL", options.what);
        return Err(bad_option(text).into());
    }
    let reference = in_environment(&options.what, options.env.as_deref())?;
    let version = match &reference.selector {
        Some(Selector::Number(number)) => number.to_string(),
        Some(Selector::Digest(digits)) => version_of(client, &reference, digits)?,
        None => {
            let text = format!(
                "which version of `{}`? decalog release {}@v…",
                reference.model.model, options.what
            );
            return Err(bad_option(text).into());
        }
    };
    let plan = Plan { cause: Cause::Release, ..plan(&options.plan)? };
    let request =
        json!({ "version": version, "environment": reference.environment(), "plan": plan });
    let answer: Value = client.post(&format!("{}/deployments", path_of(&reference)), &request)?;
    finish(client, &reference, &version, &answer, options.detach, as_json)
}

fn version_of(client: &Client, reference: &Reference, digits: &str) -> Result<String, Failure> {
    let view: control::view::ModelView = client.get(&path_of(reference))?;
    let found = view.versions.iter().find(|version| version.digest.begins_with(digits));
    found.map(|version| version.version.clone()).ok_or_else(|| {
        Problem::new(
            Code::NoSuchVersion,
            format!("`{}` has no version with the digest {digits}", view.name),
        )
        .help(format!("decalog show {}", view.name))
        .into()
    })
}

/// Follows an attempt to its end, unless it is left alone.
fn finish(
    client: &Client,
    reference: &Reference,
    version: &str,
    answer: &Value,
    detach: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let id = DeploymentId(answer["deployment"].as_u64().unwrap_or(0));
    let model = &reference.model.model;
    if detach {
        if as_json {
            print_json(answer);
        } else {
            eprintln!("{model} {version} is on its way: decalog release status {model}");
        }
        return Ok(());
    }
    explain_interruption(format!(
        "{model} {version} goes on at the server: decalog release status {model}"
    ));
    follow(client, &reference.model, version, &reference.environment(), id)?;
    if as_json {
        let view: ReleaseView = client.get(&format!(
            "{}/release?environment={}",
            path_of(reference),
            reference.environment()
        ))?;
        print_json(&view);
    }
    Ok(())
}

/// `decalog promote`
pub fn promote(
    client: &Client,
    model: &str,
    from: &str,
    to: &str,
    options: &PlanOptions,
    detach: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let mut reference = reference(model)?;
    let (from, to) = (environment_name(from)?, environment_name(to)?);
    let plan = plan(options)?;
    let request = json!({ "from": from, "to": to, "plan": plan });
    let answer: Value = client.post(&format!("{}/promotions", path_of(&reference)), &request)?;
    reference.environment = Some(to);
    let version = answer["version"].as_str().unwrap_or_default().to_string();
    finish(client, &reference, &version, &answer, detach, as_json)
}

/// `decalog rollback`
pub fn rollback(
    client: &Client,
    model: &str,
    environment: Option<&str>,
    as_json: bool,
) -> Result<(), Failure> {
    let reference = in_environment(model, environment)?;
    let answer: Value = client.post(
        &format!("{}/rollbacks", path_of(&reference)),
        &json!({ "environment": reference.environment() }),
    )?;
    let version = answer["version"].as_str().unwrap_or_default().to_string();
    if answer["deployment"].is_null() {
        eprintln!(
            "{} {version} in {}: the release was ended, all traffic is back",
            reference.model.model,
            reference.environment()
        );
        return Ok(());
    }
    finish(client, &reference, &version, &answer, false, as_json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(
            ["500ms", "90s", "2m", "1.5h"].map(|text| duration::milliseconds(text).ok()),
            [Some(500), Some(90_000), Some(120_000), Some(5_400_000)]
        );
        for bad in ["2", "m", "2 weeks", "-1s"] {
            assert!(duration::milliseconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn plans() {
        let options = PlanOptions {
            canary: Some("5,25,50%".into()),
            every: Some("2m".into()),
            guards: vec!["errors<1%".into(), "p99<50ms".into()],
            ..PlanOptions::default()
        };
        let plan = plan(&options).unwrap();
        assert_eq!(
            (plan.canary, plan.every_ms, plan.guards.len()),
            (vec![5, 25, 50], Some(120_000), 2)
        );
        assert_eq!(super::plan(&PlanOptions::default()).unwrap(), Plan::default());
        assert!(
            super::plan(&PlanOptions { guards: vec!["errors".into()], ..PlanOptions::default() })
                .is_err()
        );
    }
}
