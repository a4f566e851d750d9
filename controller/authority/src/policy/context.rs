//! What policies see of a rule: the context of Cedar's request, as the schema describes it.

use cedar_policy::{Context, RestrictedExpression as Value};
use manifest::{Admit, Intercept, Peer, Ports, Rule, Serve, Services, Source};

use super::{PORTS_MAX, Wish};

const DAY_SECONDS: u64 = 86_400;

/// Attributes of a record.
type Attributes = Vec<(String, Value)>;

pub(super) fn of(wish: &Wish<'_>, rule: &Rule) -> Result<Context, String> {
    let mut attributes = vec![("wish".to_owned(), record(shared(wish))?)];
    match rule {
        Rule::Speak(speak) => {
            let words = speak.protocols().map(|protocol| text(protocol.as_str()));
            attributes.push(("protocols".to_owned(), Value::new_set(words)));
        }
        Rule::Intercept(rule) => intercept(wish, rule, &mut attributes)?,
        Rule::Call(rule) => {
            peer(&rule.to, &mut attributes);
            services(&rule.services, &mut attributes)?;
        }
        Rule::Serve(rule) => serve(rule, &mut attributes)?,
        Rule::Admit(rule) => admit(rule, &mut attributes)?,
        _ => return Err("this authority does not know such rules yet".to_owned()),
    }
    Context::from_pairs(attributes).map_err(|error| error.to_string())
}

fn shared(wish: &Wish<'_>) -> Attributes {
    let seconds = wish.expires.seconds().saturating_sub(wish.now.seconds());
    let mut attributes = vec![
        ("application".to_owned(), text(wish.application)),
        (
            "hosts".to_owned(),
            Value::new_set(wish.hosts.iter().map(|host| text(host.as_str()))),
        ),
        // Rounded up: a policy for "at most 7 days" must not let 7.9 through.
        (
            "expiresInDays".to_owned(),
            number(seconds.div_ceil(DAY_SECONDS)),
        ),
        (
            "freeToClient".to_owned(),
            Value::new_bool(wish.free_to_client),
        ),
    ];
    if let Some(rate) = wish.limit.rate {
        attributes.push(("rateKbit".to_owned(), number(rate.kbit().into())));
    }
    attributes
}

fn intercept(wish: &Wish<'_>, rule: &Intercept, attributes: &mut Attributes) -> Result<(), String> {
    source(&rule.from(), attributes);
    peer(rule.to(), attributes);
    services(rule.services(), attributes)?;
    let condition = rule.condition();
    if let Some(host) = condition.and_then(|condition| condition.host()) {
        attributes.push(("host".to_owned(), text(&host.to_string())));
    }
    if let Some(path) = condition.and_then(|condition| condition.path()) {
        attributes.push(("path".to_owned(), text(&path.to_string())));
    }
    let on_fail = rule.on_fail().unwrap_or(wish.on_fail);
    attributes.push(("onFail".to_owned(), text(on_fail.as_str())));
    Ok(())
}

fn serve(rule: &Serve, attributes: &mut Attributes) -> Result<(), String> {
    attributes.push(("name".to_owned(), text(rule.name.as_str())));
    source(&rule.from, attributes);
    services(&rule.services, attributes)
}

fn admit(rule: &Admit, attributes: &mut Attributes) -> Result<(), String> {
    source(&rule.from, attributes);
    let keeps_the_gate = Value::new_bool(rule.to.is_none());
    attributes.push(("keepsTheGate".to_owned(), keeps_the_gate));
    if let Some((to, at)) = &rule.to {
        peer(to, attributes);
        services(at, attributes)?;
    }
    Ok(())
}

fn source(source: &Source, attributes: &mut Attributes) {
    attributes.push(("from".to_owned(), text(&source.to_string())));
    if let Source::Net(range) = source {
        attributes.push(("fromNet".to_owned(), Value::new_ip(range.to_string())));
    }
}

fn peer(peer: &Peer, attributes: &mut Attributes) {
    attributes.push(match peer {
        Peer::Net(range) => ("toNet".to_owned(), Value::new_ip(range.to_string())),
        named => ("toName".to_owned(), text(&named.to_string())),
    });
}

fn services(services: &Services, attributes: &mut Attributes) -> Result<(), String> {
    attributes.push(("tcp".to_owned(), ports(services.tcp())?));
    attributes.push(("udp".to_owned(), ports(services.udp())?));
    Ok(())
}

fn ports(ports: &Ports) -> Result<Value, String> {
    let all = ports
        .ranges()
        .iter()
        .flat_map(|&(first, last)| first..=last);
    let some: Vec<Value> = all
        .take(PORTS_MAX + 1)
        .map(|port| number(port.into()))
        .collect();
    if some.len() > PORTS_MAX {
        return Err(format!(
            "the rule names more than {PORTS_MAX} ports: name those that the application uses"
        ));
    }
    Ok(Value::new_set(some))
}

fn record(attributes: Attributes) -> Result<Value, String> {
    Value::new_record(attributes).map_err(|error| error.to_string())
}

fn text(text: &str) -> Value {
    Value::new_string(text.to_owned())
}

fn number(number: u64) -> Value {
    Value::new_long(i64::try_from(number).unwrap_or(i64::MAX))
}
