//! Open vSwitch's database, over OVSDB (RFC 7047): the bridge as it must be, its ports, their numbers.
//!
//! Each question is a connection of its own: the database may restart between any two, and there is
//! nothing to come back to. What takes time, such as the number of a new port, is waited for by
//! `monitor` (RFC 7047 section 4.1.5), never by asking again.
//!
//! Only the one bridge and its ports are changed. No row is written that is as it should be:
//! Open vSwitch clears tables when some settings change, so that even the same value is not set
//! again. There is no Controller row, ever: to delete it would clear the tables as well, and the
//! management socket needs none.
//!
//! **Threats.** A database that says nothing, nonsense, or no end: waits end at [`PORT_WITHIN`],
//! messages at [`super::MESSAGE_MAX`].

use std::path::PathBuf;
use std::time::Duration;

use openflow::PortNumber;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::json::{JsonError, Stream};

/// How long Open vSwitch may take over a change, such as to give a port its number.
pub const PORT_WITHIN: Duration = Duration::from_secs(20);
/// The longest name of an interface in Linux.
const NAME_MAX: usize = 15;
/// What a new bridge speaks: ours, and one for `ovs-ofctl` without options.
const PROTOCOLS: [&str; 2] = ["OpenFlow13", "OpenFlow15"];

/// Which bridge.
#[derive(Debug, Clone)]
pub struct Bridge {
    /// Its name, which is its internal port's, too.
    pub name: String,
    /// `system` for the kernel's datapath, `netdev` for the one in userspace.
    pub datapath_type: String,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The socket.
    #[error("the database of Open vSwitch, {0}: {1}; is ovsdb-server running?")]
    Stream(PathBuf, JsonError),
    /// It refused.
    #[error("the database of Open vSwitch refused: {0}")]
    Refused(String),
    /// It answered something else.
    #[error("the database of Open vSwitch answered what was not asked: {0}")]
    Unexpected(String),
    /// It, or the switch, took longer than [`PORT_WITHIN`].
    #[error("{0} in time; is ovs-vswitchd running?")]
    Late(String),
    /// A name that no interface can have.
    #[error("{0:?} is no name of an interface: 1 to {NAME_MAX} letters, digits, '.', '_' or '-'")]
    Name(String),
    /// The port belongs to another bridge.
    #[error("port {0} is of another bridge; take it out there first")]
    Elsewhere(String),
    /// The switch could not open it.
    #[error("the switch cannot use port {0}: {1}")]
    Port(String, String),
}

/// The database.
#[derive(Debug, Clone)]
pub struct Database {
    socket: PathBuf,
    bridge: Bridge,
}

impl Database {
    /// The database behind a socket, such as `/run/openvswitch/db.sock`, for one bridge.
    ///
    /// # Errors
    /// The bridge has no name that an interface can have.
    pub fn new(socket: impl Into<PathBuf>, bridge: Bridge) -> Result<Database, DatabaseError> {
        check_name(&bridge.name)?;
        let socket = socket.into();
        Ok(Database { socket, bridge })
    }

    /// The bridge's management socket, beside the database's.
    pub fn openflow(&self) -> PathBuf {
        let file = format!("{}.mgmt", self.bridge.name);
        self.socket.with_file_name(file)
    }

    /// Makes sure that the bridge is there, speaks OpenFlow 1.5 and passes nothing by itself; returns
    /// when Open vSwitch has done it. Says whether anything was to be done.
    ///
    /// # Errors
    /// The database's, or Open vSwitch was too slow.
    pub async fn ensure_bridge(&self) -> Result<bool, DatabaseError> {
        let columns = ["_uuid", "fail_mode", "protocols", "datapath_type"];
        let name = &self.bridge.name;
        let rows = self.select("Bridge", "name", name, &columns).await?;
        let operations = match rows.first() {
            None => self.new_bridge(),
            Some(row) => self.amended(row),
        };
        if operations.is_empty() {
            return Ok(false);
        }
        let what = format!("bridge {name} was not made");
        self.within(&what, self.change(operations)).await?;
        Ok(true)
    }

    fn new_bridge(&self) -> Vec<Value> {
        let Bridge {
            name,
            datapath_type,
        } = &self.bridge;
        let bridge = json!({
            "name": name,
            "datapath_type": datapath_type,
            "fail_mode": "secure",
            "protocols": ["set", PROTOCOLS],
            "ports": ["named-uuid", "port"],
        });
        let inserted = json!(["set", [["named-uuid", "bridge"]]]);
        vec![
            json!({"op": "insert", "table": "Interface", "uuid-name": "interface",
                "row": {"name": name, "type": "internal"}}),
            json!({"op": "insert", "table": "Port", "uuid-name": "port",
                "row": {"name": name, "interfaces": ["named-uuid", "interface"]}}),
            json!({"op": "insert", "table": "Bridge", "uuid-name": "bridge", "row": bridge}),
            json!({"op": "mutate", "table": "Open_vSwitch", "where": [],
                "mutations": [["bridges", "insert", inserted]]}),
        ]
    }

    fn amended(&self, row: &Value) -> Vec<Value> {
        let mut changed = serde_json::Map::new();
        if row["fail_mode"] != "secure" {
            changed.insert("fail_mode".to_owned(), json!("secure"));
        }
        if row["datapath_type"] != self.bridge.datapath_type.as_str() {
            changed.insert("datapath_type".to_owned(), json!(self.bridge.datapath_type));
        }
        let spoken = elements(&row["protocols"]);
        // An empty set is every version.
        if !spoken.is_empty() && !spoken.iter().any(|one| *one == "OpenFlow15") {
            let mut all: Vec<Value> = spoken.into_iter().cloned().collect();
            all.push(json!("OpenFlow15"));
            changed.insert("protocols".to_owned(), json!(["set", all]));
        }
        if changed.is_empty() {
            return Vec::new();
        }
        let of_name = json!([["name", "==", self.bridge.name]]);
        vec![json!({"op": "update", "table": "Bridge", "where": of_name, "row": changed})]
    }

    /// The port's number, as soon as the switch has given it one: the port may be added later, as
    /// the vif of a domain that starts is.
    ///
    /// # Errors
    /// The database's, or the port did not come within [`PORT_WITHIN`], or the switch cannot use it.
    pub async fn port_number(&self, port: &str) -> Result<PortNumber, DatabaseError> {
        check_name(port)?;
        let what = format!("port {port} got no number");
        self.within(&what, self.watch_number(port)).await
    }

    async fn watch_number(&self, port: &str) -> Result<PortNumber, DatabaseError> {
        let mut client = self.connect().await?;
        let columns = json!({"columns": ["name", "ofport", "error"]});
        let mut told = client.monitor("Interface", columns).await?;
        loop {
            let rows = told.as_object().into_iter().flatten();
            for (_, update) in rows {
                let row = &update["new"];
                if row["name"] != port {
                    continue;
                }
                if let Some(error) = row["error"].as_str() {
                    return Err(DatabaseError::Port(port.to_owned(), error.to_owned()));
                }
                // -1 is a port that could not be added; `error` then says why.
                let number = row["ofport"]
                    .as_i64()
                    .and_then(|one| u32::try_from(one).ok());
                if let Some(number) = number {
                    return Ok(PortNumber(number));
                }
            }
            told = client.update("Interface").await?;
        }
    }

    /// Adds a port to the bridge, with the number it should have if that is free, and returns the
    /// number that it got. One that is there already stays as it is.
    ///
    /// # Errors
    /// The database's; the port is of another bridge; the switch cannot use it.
    pub async fn add_port(
        &self,
        port: &str,
        wanted: Option<PortNumber>,
    ) -> Result<PortNumber, DatabaseError> {
        check_name(port)?;
        let ports = self.select("Port", "name", port, &["_uuid"]).await?;
        match ports.first() {
            Some(row) if self.ports().await?.contains(&row["_uuid"]) => {}
            Some(_) => return Err(DatabaseError::Elsewhere(port.to_owned())),
            None => {
                let mut interface = json!({"name": port});
                if let Some(PortNumber(number)) = wanted {
                    interface["ofport_request"] = json!(number);
                }
                let what = format!("port {port} was not added");
                let operations = self.new_port(port, &interface);
                self.within(&what, self.change(operations)).await?;
            }
        }
        self.port_number(port).await
    }

    fn new_port(&self, port: &str, interface: &Value) -> Vec<Value> {
        let of_name = json!([["name", "==", self.bridge.name]]);
        let inserted = json!(["set", [["named-uuid", "port"]]]);
        vec![
            json!({"op": "insert", "table": "Interface", "uuid-name": "interface",
                "row": interface}),
            json!({"op": "insert", "table": "Port", "uuid-name": "port",
                "row": {"name": port, "interfaces": ["named-uuid", "interface"]}}),
            json!({"op": "mutate", "table": "Bridge", "where": of_name,
                "mutations": [["ports", "insert", inserted]]}),
        ]
    }

    /// Takes a port out of the bridge; nothing if it is not there.
    ///
    /// # Errors
    /// The database's, or the port is of another bridge.
    pub async fn remove_port(&self, port: &str) -> Result<(), DatabaseError> {
        check_name(port)?;
        let ports = self.select("Port", "name", port, &["_uuid"]).await?;
        let Some(row) = ports.first() else {
            return Ok(());
        };
        if !self.ports().await?.contains(&row["_uuid"]) {
            return Err(DatabaseError::Elsewhere(port.to_owned()));
        }
        let of_name = json!([["name", "==", self.bridge.name]]);
        let removed = json!(["set", [row["_uuid"]]]);
        let operation = json!({"op": "mutate", "table": "Bridge", "where": of_name,
            "mutations": [["ports", "delete", removed]]});
        let what = format!("port {port} was not removed");
        self.within(&what, self.change(vec![operation])).await
    }

    /// The rows of the bridge's ports.
    async fn ports(&self) -> Result<Vec<Value>, DatabaseError> {
        let name = &self.bridge.name;
        let rows = self.select("Bridge", "name", name, &["ports"]).await?;
        let ports = rows.first().map(|row| elements(&row["ports"]));
        Ok(ports.unwrap_or_default().into_iter().cloned().collect())
    }

    async fn select(
        &self,
        table: &str,
        column: &str,
        value: &str,
        columns: &[&str],
    ) -> Result<Vec<Value>, DatabaseError> {
        let operation = json!({"op": "select", "table": table,
            "where": [[column, "==", value]], "columns": columns});
        let asked = async {
            let mut client = self.connect().await?;
            client.transact(vec![operation]).await
        };
        let answers = self.within("the database did not answer", asked).await?;
        let rows = answers.first().and_then(|answer| answer["rows"].as_array());
        rows.cloned()
            .ok_or_else(|| DatabaseError::Unexpected(format!("{answers:?}")))
    }

    /// Changes the database and waits until ovs-vswitchd has followed, by RFC 7047's way of Open
    /// vSwitch: `next_cfg` is counted on, and `cur_cfg` reaches it.
    async fn change(&self, mut operations: Vec<Value>) -> Result<(), DatabaseError> {
        let mut client = self.connect().await?;
        operations.push(json!({"op": "mutate", "table": "Open_vSwitch", "where": [],
            "mutations": [["next_cfg", "+=", 1]]}));
        operations.push(json!({"op": "select", "table": "Open_vSwitch", "where": [],
            "columns": ["next_cfg"]}));
        let answers = client.transact(operations).await?;
        let next = answers.last().map(|answer| &answer["rows"][0]["next_cfg"]);
        let next = next.and_then(Value::as_i64);
        let next = next.ok_or_else(|| DatabaseError::Unexpected(format!("{answers:?}")))?;
        let columns = json!({"columns": ["cur_cfg"]});
        let mut told = client.monitor("Open_vSwitch", columns).await?;
        loop {
            let mut rows = told.as_object().into_iter().flatten();
            let reached = |update: &Value| update["new"]["cur_cfg"].as_i64() >= Some(next);
            if rows.any(|(_, update)| reached(update)) {
                return Ok(());
            }
            told = client.update("Open_vSwitch").await?;
        }
    }

    async fn connect(&self) -> Result<Client<'_>, DatabaseError> {
        let stream = Stream::connect(&self.socket).await;
        let stream = stream.map_err(|error| self.failed(error))?;
        Ok(Client {
            database: self,
            stream,
        })
    }

    fn failed(&self, error: JsonError) -> DatabaseError {
        DatabaseError::Stream(self.socket.clone(), error)
    }

    async fn within<T>(
        &self,
        what: &str,
        asked: impl Future<Output = Result<T, DatabaseError>>,
    ) -> Result<T, DatabaseError> {
        let outcome = timeout(PORT_WITHIN, asked).await;
        outcome.map_err(|_| DatabaseError::Late(what.to_owned()))?
    }
}

/// One connection.
struct Client<'a> {
    database: &'a Database,
    stream: Stream,
}

impl Client<'_> {
    async fn transact(&mut self, operations: Vec<Value>) -> Result<Vec<Value>, DatabaseError> {
        let parameters = [json!("Open_vSwitch")].into_iter().chain(operations);
        let result = self.ask("transact", parameters.collect()).await?;
        let answers = result.as_array().cloned().unwrap_or_default();
        match answers.iter().find(|answer| !answer["error"].is_null()) {
            Some(refusal) => Err(DatabaseError::Refused(refusal.to_string())),
            None => Ok(answers),
        }
    }

    /// Watches columns of a table; the rows that there are.
    async fn monitor(&mut self, table: &str, columns: Value) -> Result<Value, DatabaseError> {
        let parameters = vec![
            json!("Open_vSwitch"),
            Value::Null,
            json!({ table: [columns] }),
        ];
        let result = self.ask("monitor", parameters).await?;
        Ok(result[table].clone())
    }

    /// The next change of a watched table.
    async fn update(&mut self, table: &str) -> Result<Value, DatabaseError> {
        loop {
            let value = self.receive().await?;
            if value["method"] == "update" {
                return Ok(value["params"][1][table].clone());
            }
        }
    }

    /// The result of a call. One connection has one call at a time, so its number is its method.
    async fn ask(&mut self, method: &str, parameters: Vec<Value>) -> Result<Value, DatabaseError> {
        let call = json!({"method": method, "params": parameters, "id": method});
        let sent = self.stream.send(&call).await;
        sent.map_err(|error| self.database.failed(error))?;
        loop {
            let value = self.receive().await?;
            if value["id"] != method || !value["method"].is_null() {
                continue;
            }
            if !value["error"].is_null() {
                return Err(DatabaseError::Refused(value["error"].to_string()));
            }
            return Ok(value["result"].clone());
        }
    }

    /// The next message; echoes are answered (RFC 7047 section 4.1.11).
    async fn receive(&mut self) -> Result<Value, DatabaseError> {
        let failed = |error| self.database.failed(error);
        loop {
            let value = self.stream.receive().await.map_err(failed)?;
            if value["method"] != "echo" {
                return Ok(value);
            }
            let answer = json!({"result": value["params"], "error": null, "id": value["id"]});
            self.stream.send(&answer).await.map_err(failed)?;
        }
    }
}

/// The elements of a set, which stands for itself if it has just one (RFC 7047 section 5.1).
fn elements(set: &Value) -> Vec<&Value> {
    match set.as_array().map(Vec::as_slice) {
        Some([kind, Value::Array(all)]) if kind == "set" => all.iter().collect(),
        _ => vec![set],
    }
}

fn check_name(name: &str) -> Result<(), DatabaseError> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name = (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_fit);
    match is_name && !name.starts_with(['.', '-']) {
        true => Ok(()),
        false => Err(DatabaseError::Name(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Database {
        let bridge = Bridge {
            name: "br0".to_owned(),
            datapath_type: "netdev".to_owned(),
        };
        Database::new("/run/openvswitch/db.sock", bridge).unwrap()
    }

    #[test]
    fn a_bridge_as_it_should_be_is_not_written() {
        let amended = |protocols: Value, fail_mode: Value| {
            let row = json!({"fail_mode": fail_mode, "protocols": protocols,
                "datapath_type": "netdev"});
            database().amended(&row)
        };
        let none = json!(["set", []]);
        assert!(amended(none.clone(), json!("secure")).is_empty());
        assert!(amended(json!("OpenFlow15"), json!("secure")).is_empty());
        let changed = amended(json!("OpenFlow10"), none);
        let row = json!({"fail_mode": "secure",
            "protocols": ["set", ["OpenFlow10", "OpenFlow15"]]});
        assert_eq!(changed.first().map(|one| &one["row"]), Some(&row));
    }

    #[test]
    fn names_are_names_of_interfaces() {
        for good in ["br0", "vif1.0", "vif12.0-emu"] {
            check_name(good).unwrap();
        }
        for bad in ["", "br 0", "../x", "-h", "a/b", "sixteen-letters-"] {
            check_name(bad).unwrap_err();
        }
    }

    #[test]
    fn the_socket_is_beside_the_database() {
        let path = PathBuf::from("/run/openvswitch/br0.mgmt");
        assert_eq!(database().openflow(), path);
    }
}
