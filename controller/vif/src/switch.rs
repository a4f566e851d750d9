//! Open vSwitch's database (OVSDB, RFC 7047), as far as a vif's port goes.
//!
//! A port is in a bridge as soon as the database says so, but frames pass only when ovs-vswitchd has
//! opened the interface. That is waited for by the database itself (`wait`, RFC 7047 section 5.2.6),
//! so that a domain's first frame is not lost, and that `xl create` says what the switch says.
//!
//! A bridge that the controller owns passes nothing from a new port until the controller has seen who is
//! behind it.

use std::io::{self, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Deserializer, Value, json};

use crate::place::Place;

/// How long ovs-vswitchd may take to open an interface, in milliseconds. It is ten times what a busy
/// host with two hundred domains takes, and less than libxl waits for this program (40 s).
const OPEN_MS: u64 = 20_000;
/// The database may be silent for so long.
const PATIENCE: Duration = Duration::from_millis(OPEN_MS + 5_000);
/// All answers together: they are about one port.
const ANSWERS_MAX: u64 = 1 << 20;
const SCHEMA: &str = "Open_vSwitch";

/// Why a port was not added or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SwitchError {
    /// The way to the database.
    #[error("Open vSwitch's database, {0}: {1}; is ovsdb-server running?")]
    Io(PathBuf, io::Error),
    /// It refused.
    #[error("Open vSwitch's database refuses: {0}")]
    Refused(String),
    /// It answered something else.
    #[error("Open vSwitch's database answers what was not asked: {0}")]
    Unexpected(String),
    /// The kernel's bridge is not one of Open vSwitch's.
    #[error("{0} is no bridge of Open vSwitch: ovs-vsctl add-br {0}")]
    NoBridge(String),
    /// [`OPEN_MS`] are over.
    #[error("Open vSwitch did not open the vif in time; is ovs-vswitchd running?")]
    Late,
    /// What ovs-vswitchd says.
    #[error("Open vSwitch cannot use the vif: {0}")]
    Port(String),
}

/// The switch behind a database.
pub(crate) struct Switch {
    socket: PathBuf,
}

impl Switch {
    pub(crate) fn new(socket: impl Into<PathBuf>) -> Switch {
        let socket = socket.into();
        Switch { socket }
    }

    /// Makes the vif a port of the place, instead of whatever port of that name there was, and returns
    /// when frames pass.
    pub(crate) fn plug(
        &self,
        vif: &str,
        place: &Place,
        mac: &str,
        domain: &str,
    ) -> Result<(), SwitchError> {
        let mut database = self.connect()?;
        let found = database.transact(&[
            select("Port", vif, &["_uuid"]),
            select("Bridge", &place.bridge, &["_uuid"]),
        ])?;
        if rows(&found, 1).is_empty() {
            return Err(SwitchError::NoBridge(place.bridge.clone()));
        }
        let mut operations: Vec<Value> = rows(&found, 0).iter().map(removal).collect();
        operations.extend(addition(vif, place, mac, domain));
        // Together: the second one is answered when the switch has done the first.
        let added = database.send(&operations)?;
        let opened =
            database.send(&[opening(vif), select("Interface", vif, &["ofport", "error"])])?;
        database.receive(added)?;
        let opened = database.receive(opened).map_err(|error| match error {
            SwitchError::Refused(why) if why.starts_with("timed out") => SwitchError::Late,
            error => error,
        })?;
        let row = rows(&opened, 1).first().cloned().unwrap_or_default();
        match (row["ofport"].as_i64(), row["error"].as_str()) {
            (Some(1..), _) => Ok(()),
            (_, Some(why)) => Err(SwitchError::Port(why.to_owned())),
            _ => Err(SwitchError::Unexpected(row.to_string())),
        }
    }

    /// Takes the vif's port out of its bridge, if it is in one.
    pub(crate) fn unplug(&self, vif: &str) -> Result<(), SwitchError> {
        let mut database = self.connect()?;
        let found = database.transact(&[select("Port", vif, &["_uuid"])])?;
        let operations: Vec<Value> = rows(&found, 0).iter().map(removal).collect();
        if operations.is_empty() {
            return Ok(());
        }
        database.transact(&operations).map(drop)
    }

    fn connect(&self) -> Result<Database, SwitchError> {
        Database::connect(&self.socket).map_err(|error| SwitchError::Io(self.socket.clone(), error))
    }
}

fn select(table: &str, name: &str, columns: &[&str]) -> Value {
    json!({"op": "select", "table": table, "where": [["name", "==", name]], "columns": columns})
}

/// A port that no bridge has is no more.
fn removal(row: &Value) -> Value {
    let port = &row["_uuid"];
    json!({"op": "mutate", "table": "Bridge", "where": [["ports", "includes", port]],
        "mutations": [["ports", "delete", port]]})
}

fn addition(vif: &str, place: &Place, mac: &str, domain: &str) -> [Value; 3] {
    // Who is behind it, for whoever looks at the switch.
    let ids = json!(["map", [["attached-mac", mac], ["xen-domain-id", domain]]]);
    let mut port = json!({"name": vif, "interfaces": ["named-uuid", "interface"]});
    if let Some(tag) = place.tag {
        port["tag"] = json!(tag);
    }
    if !place.trunks.is_empty() {
        port["trunks"] = json!(["set", place.trunks]);
    }
    [
        json!({"op": "insert", "table": "Interface", "uuid-name": "interface",
            "row": {"name": vif, "external_ids": ids}}),
        json!({"op": "insert", "table": "Port", "uuid-name": "port", "row": port}),
        json!({"op": "mutate", "table": "Bridge", "where": [["name", "==", place.bridge]],
            "mutations": [["ports", "insert", ["named-uuid", "port"]]]}),
    ]
}

/// Is answered when the interface has a number, which is negative if it cannot be opened.
fn opening(vif: &str) -> Value {
    json!({"op": "wait", "table": "Interface", "where": [["name", "==", vif]],
        "columns": ["ofport"], "until": "!=", "rows": [{"ofport": ["set", []]}],
        "timeout": OPEN_MS})
}

/// The rows that the operation of this index has selected.
fn rows(results: &[Value], index: usize) -> &[Value] {
    let rows = results
        .get(index)
        .and_then(|result| result["rows"].as_array());
    rows.map_or(&[], Vec::as_slice)
}

type Answers = serde_json::StreamDeserializer<
    'static,
    serde_json::de::IoRead<BufReader<io::Take<UnixStream>>>,
    Value,
>;

/// A conversation with the database.
struct Database {
    requests: UnixStream,
    answers: Answers,
    sent: u64,
}

impl Database {
    fn connect(socket: &std::path::Path) -> io::Result<Database> {
        let requests = UnixStream::connect(socket)?;
        requests.set_read_timeout(Some(PATIENCE))?;
        let answers = BufReader::new(requests.try_clone()?.take(ANSWERS_MAX));
        Ok(Database {
            requests,
            answers: Deserializer::from_reader(answers).into_iter(),
            sent: 0,
        })
    }

    /// Has operations done, all or none of them; gives the result of each.
    fn transact(&mut self, operations: &[Value]) -> Result<Vec<Value>, SwitchError> {
        let sent = self.send(operations)?;
        self.receive(sent)
    }

    fn send(&mut self, operations: &[Value]) -> Result<u64, SwitchError> {
        self.sent += 1;
        let mut params = vec![json!(SCHEMA)];
        params.extend_from_slice(operations);
        let request = json!({"method": "transact", "params": params, "id": self.sent});
        self.say(&request)?;
        Ok(self.sent)
    }

    fn say(&mut self, message: &Value) -> Result<(), SwitchError> {
        let said = self.requests.write_all(message.to_string().as_bytes());
        said.map_err(lost)
    }

    fn receive(&mut self, id: u64) -> Result<Vec<Value>, SwitchError> {
        loop {
            let message = match self.answers.next() {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(lost(error.into())),
                None => return Err(lost(io::ErrorKind::UnexpectedEof.into())),
            };
            // It asks now and then whether we live (RFC 7047 section 4.1.11).
            if message["method"] == "echo" {
                let answer =
                    json!({"result": message["params"], "error": null, "id": message["id"]});
                self.say(&answer)?;
                continue;
            }
            if message["id"] != id {
                return Err(SwitchError::Unexpected(message.to_string()));
            }
            if !message["error"].is_null() {
                return Err(SwitchError::Refused(message["error"].to_string()));
            }
            let results = message["result"].as_array().cloned().unwrap_or_default();
            return match results.iter().find_map(refusal) {
                Some(why) => Err(SwitchError::Refused(why)),
                None => Ok(results),
            };
        }
    }
}

fn lost(error: io::Error) -> SwitchError {
    SwitchError::Refused(error.to_string())
}

/// Why an operation failed; the last result is the whole transaction's.
fn refusal(result: &Value) -> Option<String> {
    let error = result["error"].as_str()?;
    Some(match result["details"].as_str() {
        Some(details) => format!("{error}: {details}"),
        None => error.to_owned(),
    })
}

#[cfg(test)]
mod tests;
