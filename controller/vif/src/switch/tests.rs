use super::*;

use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

/// A database that gives these answers to one conversation, each after one request; it tells what it was
/// asked.
struct Fake {
    folder: tempfile::TempDir,
    asked: JoinHandle<Vec<Value>>,
}

impl Fake {
    fn new(answers: Vec<Value>) -> Fake {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("db")).unwrap();
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let requests = BufReader::new(stream.try_clone().unwrap());
            let requests = Deserializer::from_reader(requests).into_iter::<Value>();
            let mut answers = answers.into_iter();
            requests
                .map(|request| {
                    if let Some(answer) = answers.next() {
                        stream.write_all(answer.to_string().as_bytes()).unwrap();
                    }
                    request.unwrap()
                })
                .collect()
        });
        Fake { folder, asked }
    }

    fn switch(&self) -> Switch {
        Switch::new(self.folder.path().join("db"))
    }

    /// The operations that were asked for, without those that only look.
    fn changes(self) -> Vec<Value> {
        let asked = self.asked.join().unwrap().into_iter();
        let operations = asked.flat_map(|request| {
            let params = request["params"].as_array().cloned().unwrap_or_default();
            params.into_iter().skip(1)
        });
        operations
            .filter(|operation| !["select", "wait"].contains(&operation["op"].as_str().unwrap()))
            .collect()
    }
}

fn answer(id: u64, result: Value) -> Value {
    json!({"id": id, "result": result, "error": null})
}

fn found(ports: Value) -> Value {
    answer(
        1,
        json!([{"rows": ports}, {"rows": [{"_uuid": ["uuid", "b"]}]}]),
    )
}

fn plugged(answers: Vec<Value>) -> (Result<(), SwitchError>, Vec<Value>) {
    let place = Place {
        bridge: "br0".to_owned(),
        tag: Some(7),
        trunks: vec![8, 9],
    };
    let fake = Fake::new(answers);
    let result = fake
        .switch()
        .plug("vif1.0", &place, "02:01:02:03:04:05", "1");
    (result, fake.changes())
}

fn refused(answers: Vec<Value>) -> String {
    plugged(answers).0.unwrap_err().to_string()
}

#[test]
fn a_port_takes_the_place_of_an_older_one() {
    let opened = json!([{}, {"rows": [{"ofport": 3, "error": ["set", []]}]}]);
    let old = json!([{"_uuid": ["uuid", "old"]}]);
    let (result, changes) = plugged(vec![
        found(old),
        answer(2, json!([{"count": 1}, {}, {}, {"count": 1}])),
        answer(3, opened),
    ]);
    result.unwrap();
    let expected = [
        json!({"op": "mutate", "table": "Bridge", "where": [["ports", "includes", ["uuid", "old"]]],
            "mutations": [["ports", "delete", ["uuid", "old"]]]}),
        json!({"op": "insert", "table": "Interface", "uuid-name": "interface", "row": {
            "name": "vif1.0",
            "external_ids": ["map", [["attached-mac", "02:01:02:03:04:05"], ["xen-domain-id", "1"]]]}}),
        json!({"op": "insert", "table": "Port", "uuid-name": "port", "row": {"name": "vif1.0",
            "interfaces": ["named-uuid", "interface"], "tag": 7, "trunks": ["set", [8, 9]]}}),
        json!({"op": "mutate", "table": "Bridge", "where": [["name", "==", "br0"]],
            "mutations": [["ports", "insert", ["named-uuid", "port"]]]}),
    ];
    assert_eq!(changes, expected);
}

#[test]
fn why_a_port_is_none_is_told() {
    let none = answer(1, json!([{"rows": []}, {"rows": []}]));
    let says = "br0 is no bridge of Open vSwitch: ovs-vsctl add-br br0";
    assert_eq!(refused(vec![none]), says);

    let added = || answer(2, json!([{}, {}, {"count": 1}]));
    let error = json!([{}, {"rows": [{"ofport": -1, "error": "no such device"}]}]);
    let says = "Open vSwitch cannot use the vif: no such device";
    let answers = vec![found(json!([])), added(), answer(3, error)];
    assert_eq!(refused(answers), says);

    let late = json!([{"error": "timed out"}, null]);
    let answers = vec![found(json!([])), added(), answer(3, late)];
    assert!(refused(answers).contains("is ovs-vswitchd running?"));

    let twice = json!([{}, {}, {}, {"error": "constraint violation", "details": "twice"}]);
    let says = "Open vSwitch's database refuses: constraint violation: twice";
    assert_eq!(refused(vec![found(json!([])), answer(2, twice)]), says);
}

/// It may ask whether we live at any time, and may say anything.
#[test]
fn echoes_are_answered_and_nonsense_is_refused() {
    let echo = json!({"id": "echo", "method": "echo", "params": [1]});
    let fake = Fake::new(vec![echo, answer(1, json!([{"rows": []}]))]);
    fake.switch().unplug("vif1.0").unwrap();
    let asked = fake.asked.join().unwrap();
    let answered = json!({"id": "echo", "result": [1], "error": null});
    assert_eq!(asked.get(1), Some(&answered));

    assert!(refused(vec![json!("nonsense")]).contains("answers what was not asked"));
    assert!(refused(vec![answer(9, json!([]))]).contains("answers what was not asked"));
    let nowhere = Switch::new("/nowhere/db.sock").unplug("vif1.0");
    assert!(
        nowhere
            .unwrap_err()
            .to_string()
            .contains("is ovsdb-server running?")
    );
}

#[test]
fn a_port_is_taken_out_of_its_bridge() {
    let rows = json!([{"rows": [{"_uuid": ["uuid", "p"]}]}]);
    let fake = Fake::new(vec![answer(1, rows), answer(2, json!([{"count": 1}]))]);
    fake.switch().unplug("vif1.0").unwrap();
    let expected = json!({"op": "mutate", "table": "Bridge",
        "where": [["ports", "includes", ["uuid", "p"]]],
        "mutations": [["ports", "delete", ["uuid", "p"]]]});
    assert_eq!(fake.changes(), [expected]);
}
