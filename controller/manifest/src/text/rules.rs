//! The tables of rules: `[[speak]]`, `[[intercept]]`, `[[call]]`, `[[serve]]`, `[[admit]]`.

use super::reader::{Fault, Section, Value};
use crate::ports::{Ports, Services, parse_range};
use crate::rule::{Admit, Call, Condition, Intercept, Peer, Protocol, Rule, Serve, Source, Speak};

/// How the rules of one kind are read.
type Read = fn(Section<'_>) -> Result<Rule, Fault>;

/// All kinds of rules.
pub(super) const KINDS: [(&str, Read); 5] = [
    ("speak", speak),
    ("intercept", intercept),
    ("call", call),
    ("serve", serve),
    ("admit", admit),
];

fn speak(mut section: Section<'_>) -> Result<Rule, Fault> {
    let value = section.need("protocols", "a list such as [\"arp\", \"dns\"]")?;
    let empty = value.fault("the list is empty: remove the rule, or name a protocol");
    let protocols: Result<Vec<Protocol>, Fault> =
        value.items()?.into_iter().map(Value::parsed).collect();
    let speak = Speak::new(protocols?).ok_or(empty)?;
    section.end()?;
    Ok(Rule::Speak(speak))
}

fn intercept(mut section: Section<'_>) -> Result<Rule, Fault> {
    let from: Source = section
        .need("from", "\"clients\", or a range of their addresses")?
        .parsed()?;
    let (to, services) = destination(&mut section)?;
    let (condition, span) = match section.take("where") {
        Some(value) => {
            let span = value.span();
            (Some(requests(value)?), span)
        }
        None => (None, section.span()),
    };
    let on_fail = section.take("on-fail").map(Value::parsed).transpose()?;
    section.end()?;
    let rule = Intercept::new(from, to, services, condition, on_fail).ok_or_else(|| Fault {
        span,
        problem: "`where`: requests are seen in TCP only: add `tcp` to `to`".to_owned(),
    })?;
    Ok(Rule::Intercept(rule))
}

fn call(mut section: Section<'_>) -> Result<Rule, Fault> {
    let (to, services) = destination(&mut section)?;
    section.end()?;
    Ok(Rule::Call(Call { to, services }))
}

fn serve(mut section: Section<'_>) -> Result<Rule, Fault> {
    let name = section
        .need(
            "as",
            "the name of the service, such as \"edge.photos.example\"",
        )?
        .parsed()?;
    let services = services(&mut section)?;
    let from = section.take("from").map(Value::parsed).transpose()?;
    section.end()?;
    Ok(Rule::Serve(Serve {
        name,
        services,
        from: from.unwrap_or(Source::Clients),
    }))
}

fn admit(mut section: Section<'_>) -> Result<Rule, Fault> {
    let from: Source = section
        .need("from", "\"clients\", or a range of their addresses")?
        .parsed()?;
    let to = match section.has("to") {
        true => Some(destination(&mut section)?),
        false => None,
    };
    section.end()?;
    Ok(Rule::Admit(Admit { from, to }))
}

/// `to = { name = "…", tcp = […] }` or `to = { net = "…", udp = […] }`.
fn destination(section: &mut Section<'_>) -> Result<(Peer, Services), Fault> {
    let cure = "such as `to = { name = \"www.photos.example\", tcp = [443] }`";
    let mut to = section.need("to", cure)?.section("to")?;
    let peer = match (to.take("name"), to.take("net")) {
        (Some(_), Some(net)) => {
            return Err(net.fault("`name` is there already: give one of both"));
        }
        (Some(name), None) => Peer::Name(name.parsed()?),
        (None, Some(net)) => Peer::Net(net.parsed()?),
        (None, None) => to
            .need("name", "it, or `net` with a range of addresses")
            .and_then(|name| name.parsed().map(Peer::Name))?,
    };
    let services = services(&mut to)?;
    to.end()?;
    Ok((peer, services))
}

fn services(section: &mut Section<'_>) -> Result<Services, Fault> {
    let span = section.span();
    let tcp = section.take("tcp").map(ports).transpose()?;
    let udp = section.take("udp").map(ports).transpose()?;
    let services = Services::new(tcp.unwrap_or_default(), udp.unwrap_or_default());
    services.ok_or_else(|| Fault {
        span,
        problem: "no port is named: add such as `tcp = [443]` or `udp = [\"8000-8100\"]`"
            .to_owned(),
    })
}

fn ports(value: Value<'_>) -> Result<Ports, Fault> {
    let whole = value.fault("");
    let range =
        |item: Value<'_>| parse_range(&item.number_or_text()?).map_err(|error| item.fault(error));
    let ranges: Result<Vec<(u16, u16)>, Fault> = value.items()?.into_iter().map(range).collect();
    Ports::new(ranges?).map_err(|error| Fault {
        problem: error.to_string(),
        ..whole
    })
}

fn requests(value: Value<'_>) -> Result<Condition, Fault> {
    let empty = value.fault("it says nothing: give `host` or `path`, or remove it");
    let mut section = value.section("where")?;
    let host = section.take("host").map(Value::parsed).transpose()?;
    let path = section.take("path").map(Value::parsed).transpose()?;
    section.end()?;
    Condition::new(host, path).ok_or(empty)
}
