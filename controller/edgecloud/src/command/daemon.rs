//! What the daemon of this host is asked.

use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64;
use hyper::Method;
use serde_json::{Map, Value, json};

use crate::arguments::{Daemon, Launch, Trace, Transport};
use crate::failure::Failure;
use crate::files;
use crate::http::ask_daemon;
use crate::report::{Report, table};

/// The columns of `ps`: heading, and member of the daemon's document.
const DOMAIN: &[(&str, &str)] = &[
    ("NAME", "name"),
    ("STATE", "state"),
    ("APPLICATION", "application"),
    ("OF", "application-name"),
    ("ADDRESSES", "addresses"),
    ("MEMORY", "memory-mib"),
    ("RESTARTS", "restarts"),
    ("REGISTERED", "registered"),
];
const FLOW: &[(&str, &str)] = &[
    ("TABLE", "table"),
    ("CLASS", "class"),
    ("APPLICATION", "application"),
    ("RULE", "rule"),
    ("FLOW", "flow"),
];

async fn get(daemon: &Daemon, path: &str) -> Result<Value, Failure> {
    let answer = ask_daemon(daemon, Method::GET, path, None, Duration::ZERO).await?;
    answer.accepted()?.json()
}

async fn post(daemon: &Daemon, path: &str, body: &Value) -> Result<Value, Failure> {
    let answer = ask_daemon(daemon, Method::POST, path, Some(body), Duration::ZERO).await?;
    answer.accepted()?.json()
}

pub(crate) async fn launch(launch: Launch) -> Result<Report, Failure> {
    let encoded = |path: &Path| Ok::<String, Failure>(BASE64.encode(&files::read_document(path)?));
    let mut environment = Map::new();
    for (name, value) in launch.env {
        environment.insert(name, value.into());
    }
    for (name, file) in launch.env_file {
        environment.insert(name, files::read_text(Path::new(&file))?.into());
    }
    // Read before it is sent, so that what is no key is named here.
    files::read_key(&launch.key)?;
    let mut body = json!({
        "name": launch.name,
        "token": encoded(&launch.token)?,
        "descriptor": encoded(&launch.descriptor)?,
        "image": launch.image,
        "key": files::read_key_text(&launch.key)?.as_str(),
        "environment": environment,
        "disk": launch.disk,
    });
    if let Some(config) = &launch.config {
        body["configuration"] = settings(config)?.into();
    }
    if let Some(health) = launch.health {
        body["health"] = health.into();
    }
    let domain = post(&launch.daemon, "/v1/launch", &body).await?;
    let text = table(std::slice::from_ref(&domain), DOMAIN);
    Ok(Report::new(domain, text))
}

/// The appliance's settings, which must at least be TOML: in the domain nobody would see why not.
fn settings(path: &Path) -> Result<String, Failure> {
    let text = files::read_text(path)?;
    match text.parse::<toml::Table>() {
        Ok(_) => Ok(text),
        Err(error) => Err(files::document(path, error.to_string())),
    }
}

pub(crate) async fn ps(daemon: &Daemon) -> Result<Report, Failure> {
    let document = get(daemon, "/v1/domains").await?;
    let text = table(rows(&document["domains"]), DOMAIN);
    Ok(Report::new(document, text))
}

fn rows(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// A domain's path at the daemon. What cannot be a domain's name goes nowhere.
fn at(domain: &str, what: &str) -> Result<String, Failure> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match !domain.is_empty() && domain.chars().all(good) {
        true => Ok(format!("/v1/domains/{domain}/{what}")),
        false => Err(Failure::Wrong(format!(
            "{domain} is no domain's name: lower-case letters, digits and hyphens, as in `edgecloud ps`"
        ))),
    }
}

pub(crate) async fn logs(domain: &str, daemon: &Daemon) -> Result<Report, Failure> {
    let path = at(domain, "log")?;
    let answer = ask_daemon(daemon, Method::GET, &path, None, Duration::ZERO).await?;
    let log = String::from_utf8_lossy(&answer.accepted()?.body).into_owned();
    Ok(Report::new(json!({ "domain": domain, "log": log }), log))
}

pub(crate) async fn stop(
    domain: &str,
    drain_seconds: u64,
    daemon: &Daemon,
) -> Result<Report, Failure> {
    let path = at(domain, "stop")?;
    let body = json!({ "drain-seconds": drain_seconds });
    let patience = Duration::from_secs(drain_seconds);
    let answer = ask_daemon(daemon, Method::POST, &path, Some(&body), patience).await?;
    answer.accepted()?;
    Ok(Report::new(
        json!({ "stopped": domain }),
        format!("{domain} has ended"),
    ))
}

pub(crate) async fn revoke(
    application: Option<u32>,
    list: Option<&Path>,
    daemon: &Daemon,
) -> Result<Report, Failure> {
    let document = match (application, list) {
        (_, Some(list)) => {
            let list = BASE64.encode(&files::read_document(list)?);
            post(daemon, "/v1/revocations", &json!({ "list": list })).await?
        }
        (Some(number), None) => {
            post(
                daemon,
                &format!("/v1/applications/{number}/revoke"),
                &json!({}),
            )
            .await?
        }
        (None, None) => {
            let wrong = "give the application's number, as `edgecloud ps` shows it, or --list FILE";
            return Err(Failure::Wrong(wrong.to_owned()));
        }
    };
    let text = table(
        std::slice::from_ref(&document),
        &[("CUT OFF", "applications"), ("DOMAINS ENDED", "domains")],
    );
    Ok(Report::new(document, text))
}

pub(crate) async fn flows(daemon: &Daemon) -> Result<Report, Failure> {
    let document = get(daemon, "/v1/flows").await?;
    let text = table(rows(&document["flows"]), FLOW);
    Ok(Report::new(document, text))
}

pub(crate) async fn trace(trace: Trace) -> Result<Report, Failure> {
    let protocol = match trace.protocol {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
        Transport::Icmp => "icmp",
    };
    let body = json!({
        "from": trace.from,
        "source": trace.source,
        "target": trace.target,
        "protocol": protocol,
        "source-port": trace.source_port,
        "target-port": trace.target_port,
    });
    let document = post(&trace.daemon, "/v1/trace", &body).await?;
    let text = readable(&document);
    Ok(Report::new(document, text))
}

pub(crate) async fn accounts(daemon: &Daemon) -> Result<Report, Failure> {
    let document = get(daemon, "/v1/accounts").await?;
    let text = readable(&document);
    Ok(Report::new(document, text))
}

/// A document whose members the daemon alone knows, as indented lines.
fn readable(document: &Value) -> String {
    let mut text = String::new();
    write(&mut text, document, 0);
    text
}

fn write(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if value.is_object() || value.is_array() {
                    *text += &format!("{indent}{name}:\n");
                    write(text, value, depth + 1);
                } else {
                    *text += &format!("{indent}{name}: {}\n", crate::report::cell(value));
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                write(text, item, depth);
            }
        }
        other => *text += &format!("{indent}{}\n", crate::report::cell(other)),
    }
}
