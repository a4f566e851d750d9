//! Clients, many at once: what `crowd.py` carries out, and what comes of it.

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use site::ORIGIN;

use crate::{PORT, PORTAL, Station};

/// Seconds that a client waits for anything.
const PATIENCE_SECONDS: u32 = 60;

/// As many as log in at the same moment when a train arrives, and no more threads than an emulated
/// processor bears.
const AT_ONCE: usize = 64;

/// What came of an order.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    /// 0 if there was none.
    pub(crate) status: u16,
    /// Why there was none.
    #[serde(default)]
    pub(crate) error: String,
    #[serde(default)]
    pub(crate) bytes: u64,
    #[serde(default)]
    pub(crate) body: String,
    /// After a login: what the far server answered.
    #[serde(default)]
    pub(crate) online: u16,
    /// After a login, or several questions: from sending the form to the far server's first byte.
    #[serde(default)]
    pub(crate) online_ms: f64,
}

/// A client's address.
pub(crate) fn address(client: u8) -> String {
    format!("10.0.0.{client}")
}

/// Asks an address at [`PORT`] for a path.
pub(crate) fn get(client: u8, target: &str, path: &str) -> Value {
    json!({"client": address(client), "do": "get", "address": target, "port": PORT, "path": path})
}

/// Asks an address so many times, one after the other, from an address that is no client's.
pub(crate) fn get_plain(from: &str, target: &str, times: u32) -> Value {
    json!({"client": from, "do": "get", "address": target, "port": PORT, "path": "/",
           "times": times})
}

/// Shakes hands with an address for a name.
pub(crate) fn tls(client: u8, target: &str, name: &str) -> Value {
    json!({"client": address(client), "do": "get", "address": target, "port": 443, "tls": name,
           "host": name})
}

/// Asks an address for a path, without TLS, as if it were a name's.
pub(crate) fn named(client: u8, (target, path): (&str, &str), name: &str) -> Value {
    json!({"client": address(client), "do": "get", "address": target, "port": 80, "path": path,
           "host": name})
}

/// Asks an address for a path, as if it were a name's, and believes who shows a certificate.
pub(crate) fn trusting(
    client: u8,
    (target, path): (&str, &str),
    name: &str,
    certificate: &str,
) -> Value {
    json!({"client": address(client), "do": "get", "address": target, "port": 443, "path": path,
           "tls": name, "host": name, "trust": certificate})
}

/// Redeems a voucher by the page.
pub(crate) fn voucher(client: u8, code: &str) -> Value {
    json!({"client": address(client), "do": "voucher", "code": code})
}

/// Logs in by the page.
pub(crate) fn login(client: u8, name: &str, password: &str) -> Value {
    json!({"client": address(client), "do": "login", "name": name, "password": password})
}

/// Shows a token as an app does.
pub(crate) fn token(client: u8, token: &str) -> Value {
    json!({"client": address(client), "do": "token", "token": token})
}

/// Logs out by the page.
pub(crate) fn logout(client: u8) -> Value {
    json!({"client": address(client), "do": "logout"})
}

impl Station<'_> {
    /// Has clients do all of this at once; what came of each, in this order.
    pub(crate) fn crowd(&self, orders: Vec<Value>) -> Result<Vec<Answer>> {
        self.order(orders, AT_ONCE)
    }

    /// Has clients do this one after the other.
    pub(crate) fn one_by_one(&self, orders: Vec<Value>) -> Result<Vec<Answer>> {
        self.order(orders, 1)
    }

    fn order(&self, orders: Vec<Value>, at_once: usize) -> Result<Vec<Answer>> {
        let count = orders.len();
        let all = json!({"patience": PATIENCE_SECONDS, "portal": [self.portal, 80, PORTAL],
                         "far": [ORIGIN, PORT], "at_once": at_once, "orders": orders});
        let script = include_str!("crowd.py");
        let script = self.place.write("crowd.py", script.as_bytes())?;
        let orders = self
            .place
            .write("orders.json", all.to_string().as_bytes())?;
        let run = format!("ip netns exec phone python3 {script} {orders}");
        let limit = std::time::Duration::from_secs(300);
        let said = self.place.run_within(&run, limit)?;
        let answers: Vec<Answer> = serde_json::from_str(&said).with_context(|| said)?;
        ensure!(
            answers.len() == count,
            "{count} orders, {} answers",
            answers.len()
        );
        Ok(answers)
    }

    /// Has one client do something.
    pub(crate) fn one(&self, order: Value) -> Result<Answer> {
        self.crowd(vec![order])?.pop().context("one answer")
    }

    /// Has clients log in, who all must be online then; how long it took each, in milliseconds.
    pub(crate) fn log_in(&self, orders: Vec<Value>) -> Result<Vec<f64>> {
        let whom = orders.clone();
        let answers = self.crowd(orders)?;
        let mut times = Vec::new();
        for (answer, order) in answers.iter().zip(whom) {
            ensure!(
                answer.online == 200,
                "{} is not online: {answer:?}",
                order["client"]
            );
            times.push(answer.online_ms);
        }
        Ok(times)
    }
}
