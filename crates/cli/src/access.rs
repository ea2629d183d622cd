//! Who may do what: `token`, `member`, `whoami`, `can`, `auth`, `erase`.

use control::member::Member;
use control::token::{NewToken, TokenView};
use control::{Verdict, WhoAmI};
use domain::token::Limits;
use domain::{Code, Credential, Grant, ModelName, Problem, ProjectName, Reach};
use serde_json::{Value, json};

use crate::Failure;
use crate::args::{
    AuthVerb, CredentialOptions, EraseVerb, KindOptions, LimitOptions, MemberVerb, PlaceOptions,
    TokenVerb,
};
use crate::client::{Client, encoded};
use crate::duration;
use crate::layout::{Column, list};
use crate::show::time;
use crate::terminal::{one_line, print_json, width};

fn option(error: impl std::fmt::Display) -> Problem {
    Problem::new(Code::BadOption, error.to_string())
}

fn limits(options: LimitOptions) -> Result<Limits, Problem> {
    let LimitOptions { rate, burst, concurrent, rows_per_day } = options;
    let limits = Limits {
        rate: rate.map(|rate| rate.parse()).transpose().map_err(option)?,
        burst,
        concurrent_requests_max: concurrent,
        rows_day_max: rows_per_day,
    };
    limits.validate().map_err(option)?;
    Ok(limits)
}

fn reach(place: &PlaceOptions) -> Result<Option<Reach>, Problem> {
    let text = match (&place.project, &place.env) {
        (None, _) => return Ok(None),
        (Some(project), None) => project.clone(),
        (Some(project), Some(env)) => format!("{project}@{env}"),
    };
    text.parse().map(Some).map_err(option)
}

/// `decalog token`
pub fn token(client: &Client, verb: TokenVerb, as_json: bool) -> Result<(), Failure> {
    match verb {
        TokenVerb::Create { owner, predict, scopes, limits: options, expires } => {
            let predict = predict.iter().map(|model| format!("predict:{model}"));
            let scopes: Vec<String> = predict.chain(scopes).collect();
            for scope in &scopes {
                scope.parse::<domain::Scope>().map_err(option)?;
            }
            if scopes.is_empty() {
                return Err(option("a token without a scope is of no use")
                    .help("name a model with --predict PROJECT/MODEL, or another --scope")
                    .into());
            }
            let valid_ms = expires.as_deref().map(duration::milliseconds).transpose()?;
            let body = json!({
                "owner": owner,
                "scopes": scopes,
                "limits": limits(options)?,
                "valid_ms": valid_ms,
            });
            let token: NewToken = client.post("/v1/tokens", &body)?;
            made(&token, as_json);
        }
        TokenVerb::Rotate { id, overlap } => {
            let body = json!({ "overlap_ms": duration::milliseconds(&overlap)? });
            let path = format!("/v1/tokens/{}/rotations", encoded(&id));
            made(&client.post(&path, &body)?, as_json);
        }
        TokenVerb::Revoke { id } => {
            let revoked = client.delete(&format!("/v1/tokens/{}", encoded(&id)))?;
            if as_json {
                print_json(&revoked);
            } else {
                eprintln!("token {id} is revoked");
            }
        }
        TokenVerb::Ls => {
            let listed: Value = client.get("/v1/tokens")?;
            if as_json {
                print_json(&listed);
                return Ok(());
            }
            let tokens: Vec<TokenView> =
                serde_json::from_value(listed["tokens"].clone()).unwrap_or_default();
            let columns = [
                Column::words("TOKEN"),
                Column::words("OWNER").down_to(8),
                Column::words("FROM"),
                Column::words("STATE"),
                Column::words("EXPIRES"),
                Column::words("LIMITS").down_to(6),
                Column::words("SCOPES").down_to(12),
            ];
            let rows: Vec<Vec<String>> = tokens.iter().map(token_row).collect();
            print(&list(&columns, &rows, &["LIMITS", "FROM", "EXPIRES"], width()));
        }
    }
    Ok(())
}

fn print(lines: &[String]) {
    lines.iter().for_each(|line| println!("{line}"));
}

/// The token itself goes to standard output, so that it can be piped; what is said of it does not.
fn made(token: &NewToken, as_json: bool) {
    if as_json {
        print_json(token);
        return;
    }
    let view = &token.token;
    let until = view.expires_ms.map_or("for ever".to_string(), |ms| format!("until {}", time(ms)));
    eprintln!("token {} of {} for {}, {until}", view.id, one_line(&view.owner), view.scopes);
    if let Some(ms) = view.earlier_until_ms {
        eprintln!("the one before it is valid until {}", time(ms));
    }
    eprintln!("it is not shown again:");
    println!("{}", token.secret);
}

fn token_row(token: &TokenView) -> Vec<String> {
    vec![
        token.id.to_string(),
        one_line(&token.owner).into_owned(),
        token.origin.as_str().into(),
        token.state.clone(),
        token.expires_ms.map_or("never".into(), time),
        limits_text(&token.limits),
        token.scopes.to_string(),
    ]
}

fn limits_text(limits: &Limits) -> String {
    let parts = [
        limits.rate.map(|rate| rate.to_string()),
        limits.concurrent_requests_max.map(|max| format!("{max} at once")),
        limits.rows_day_max.map(|max| format!("{max} rows/d")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// `decalog member`
pub fn member(client: &Client, verb: MemberVerb, as_json: bool) -> Result<(), Failure> {
    match verb {
        MemberVerb::Add { name, role, place, kind, credential } => {
            let role: domain::Role = role.parse().map_err(option)?;
            let credential = known_by(credential)?;
            let kind = match &credential {
                Some(credential) => Some(credential.kind().as_str()),
                None => kind_named(&kind),
            };
            let reach = reach(&place)?.unwrap_or(Reach::Everything);
            let mut body = json!({ "name": name, "kind": kind, "role": role, "in": reach });
            if let Some(credential) = credential {
                body["credential"] = json!(credential);
            }
            let member: Member = client.post("/v1/members", &body)?;
            if as_json {
                print_json(&member);
                return Ok(());
            }
            eprintln!("{} is {role} of {}", one_line(&name), reach.display());
        }
        MemberVerb::Rm { name, place, kind } => {
            let reach = reach(&place)?;
            let place = reach.as_ref().map(|reach| format!("in={}", encoded(&reach.to_string())));
            let kind = kind_named(&kind).map(|kind| format!("kind={kind}"));
            let query: Vec<String> = place.into_iter().chain(kind).collect();
            let path = format!("/v1/members/{}?{}", encoded(&name), query.join("&"));
            let removed = client.delete(&path)?;
            match (as_json, reach) {
                (true, _) => print_json(&removed),
                (_, Some(reach)) => {
                    eprintln!(
                        "{} has no role of their own in {}",
                        one_line(&name),
                        reach.display()
                    );
                }
                (_, None) => {
                    eprintln!("{} has no roles and no tokens any more", one_line(&name));
                    ended_with_them(&removed["tokens_ended"]);
                }
            }
        }
        MemberVerb::Ls => {
            let listed: Value = client.get("/v1/members")?;
            if as_json {
                print_json(&listed);
                return Ok(());
            }
            let members: Vec<Member> =
                serde_json::from_value(listed["members"].clone()).unwrap_or_default();
            let columns = [
                Column::words("NAME").down_to(8),
                Column::words("KIND"),
                Column::words("KNOWN BY").down_to(12),
                Column::words("ROLES").down_to(16),
            ];
            let kind = |member: &Member| {
                serde_json::to_value(member.kind).ok().and_then(|v| v.as_str().map(String::from))
            };
            let rows: Vec<Vec<String>> = members
                .iter()
                .map(|member| {
                    let name = one_line(&member.name).into_owned();
                    let by = member.credential.as_ref().map_or_else(String::new, credential_text);
                    let by = one_line(&by).into_owned();
                    vec![name, kind(member).unwrap_or_default(), by, roles(&member.grants)]
                })
                .collect();
            print(&list(&columns, &rows, &["KNOWN BY", "KIND"], width()));
        }
    }
    Ok(())
}

fn known_by(options: CredentialOptions) -> Result<Option<Credential>, Problem> {
    let CredentialOptions { job, issuer, claims, certificate } = options;
    let credential = match (certificate, job) {
        (Some(name), _) => Credential::Certificate(name.parse().map_err(option)?),
        (None, true) => {
            let pairs = claims.iter().map(|claim| {
                let pair = claim.split_once('=').ok_or_else(|| {
                    option(format!("--claim {claim} is not NAME=VALUE"))
                        .help("--claim repository_id=4711")
                })?;
                Ok((pair.0.to_string(), pair.1.to_string()))
            });
            let claims = pairs.collect::<Result<_, Problem>>()?;
            Credential::JobToken { issuer: issuer.unwrap_or_default(), claims }
        }
        (None, false) => return Ok(None),
    };
    credential.validate().map_err(option)?;
    Ok(Some(credential))
}

fn credential_text(credential: &Credential) -> String {
    match credential {
        Credential::Certificate(name) => name.to_string(),
        Credential::JobToken { issuer, claims } => {
            let host = issuer.split_once("://").map_or(issuer.as_str(), |(_, rest)| rest);
            let claims = claims.iter().map(|(name, value)| format!("{name}={value}"));
            format!("{host} {}", claims.collect::<Vec<_>>().join(" "))
        }
    }
}

/// Tokens that somebody made for others, and knows: what needs them stands still.
fn ended_with_them(tokens: &Value) {
    let tokens: Vec<&str> =
        tokens.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !tokens.is_empty() {
        eprintln!("tokens that they made for others ended, too: {}", tokens.join(", "));
        eprintln!("  those that are still needed: decalog token rotate ID");
    }
}

fn kind_named(kind: &KindOptions) -> Option<&'static str> {
    let kinds = [(kind.person, "person"), (kind.service, "service"), (kind.group, "group")];
    kinds.into_iter().find_map(|(is_meant, name)| is_meant.then_some(name))
}

fn roles(grants: &[Grant]) -> String {
    let roles = grants.iter().map(|grant| format!("{} of {}", grant.role, grant.reach.display()));
    let roles: Vec<String> = roles.collect();
    if roles.is_empty() { "none".into() } else { roles.join(", ") }
}

/// `decalog whoami`
pub fn who_am_i(client: &Client, as_json: bool) -> Result<(), Failure> {
    let who: WhoAmI = client.get("/v1/whoami")?;
    if as_json {
        print_json(&who);
        return Ok(());
    }
    println!("{}  {}", one_line(&who.name), who.principal);
    match who.principal {
        domain::Principal::LocalOwner => {
            println!("  may do everything: you own the data directory")
        }
        _ => println!("  {}", roles(&who.grants)),
    }
    if let (Some(token), Some(scopes)) = (who.token, who.scopes) {
        println!("  by token {token}, for {scopes}");
    }
    Ok(())
}

/// `decalog can`; 1 if the answer is no.
pub fn can(client: &Client, words: &[String], as_json: bool) -> Result<u8, Failure> {
    let (who, action, object) = match words {
        [action, object] => (None, action, object),
        [who, action, object] => (Some(who), action, object),
        _ => {
            return Err(option("say what, and with what")
                .help("decalog can release churn@production, or decalog can ann release churn")
                .into());
        }
    };
    action.parse::<domain::Action>().map_err(option)?;
    object.parse::<domain::Object>().map_err(option)?;
    let who = who.map_or(String::new(), |who| format!("&who={}", encoded(who)));
    let query = format!("/v1/can?action={action}&object={}{who}", encoded(object));
    let verdict: Verdict = client.get(&query)?;
    if as_json {
        print_json(&verdict);
    } else {
        println!("{}", one_line(&verdict.says));
    }
    Ok(u8::from(!verdict.allowed))
}

/// `decalog auth`
pub fn auth(client: &Client, verb: AuthVerb) -> Result<(), Failure> {
    let required = matches!(verb, AuthVerb::Require);
    client.put("/v1/access/tokens", &json!({ "required": required }))?;
    eprintln!(
        "{}",
        match required {
            true =>
                "predictions need a token from now on: decalog token create NAME --predict MODEL",
            false => "predictions from this machine need no token",
        }
    );
    Ok(())
}

/// `decalog erase key`
fn erase_key(
    client: &Client,
    key: &str,
    project: &ProjectName,
    model: Option<&ModelName>,
    as_json: bool,
) -> Result<(), Failure> {
    let model = model.map_or(String::new(), |model| format!("&model={model}"));
    let path = format!("/v1/records?key={}&project={project}{model}", encoded(key));
    let answer = client.delete(&path)?;
    if as_json {
        print_json(&answer);
        return Ok(());
    }
    let count = |name: &str, one: &str, many: &str| {
        let count = answer[name].as_u64().unwrap_or(0);
        format!("{count} {}", if count == 1 { one } else { many })
    };
    let (records, files) = (count("records", "record", "records"), count("files", "file", "files"));
    println!("erased {records} in {files}");
    match answer["unread"].as_u64().unwrap_or(0) {
        0 => Ok(()),
        _ => {
            let unread = count("unread", "file of records is", "files of records are");
            Err(Problem::new(Code::Store, format!("{unread} damaged and as before"))
                .help("the server's log names them")
                .into())
        }
    }
}

/// `decalog erase`
pub fn erase(client: &Client, verb: EraseVerb, as_json: bool) -> Result<(), Failure> {
    let name = match verb {
        EraseVerb::Person { name } => name,
        EraseVerb::Key { key, project, model } => {
            return erase_key(client, &key, &project, model.as_ref(), as_json);
        }
    };
    let erased = client.delete(&format!("/v1/people/{}", encoded(&name)))?;
    match as_json {
        true => print_json(&erased),
        false => eprintln!(
            "the name is erased; what they did stays, as done by {}",
            erased["erased"].as_str().unwrap_or_default()
        ),
    }
    Ok(())
}
