//! The commands for the daemon, against a socket that notes what it is asked and answers as the
//! daemon's interface says.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use serde_json::{Value, json};

use crate::place::Place;

/// Answers one request with a status and a body, and returns the request.
fn serve(listener: &UnixListener, status: u16, body: &str) -> String {
    let (mut stream, _) = listener.accept().expect("a connection");
    let request = read(&mut stream);
    let length = body.len();
    let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).expect("sent");
    request
}

/// A request, whole.
fn read(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        let mut more = [0; 4096];
        let count = stream.read(&mut more).expect("a request");
        assert!(count > 0, "it broke off: {text}");
        bytes.extend(&more[..count]);
    }
}

/// Runs a command against a daemon that answers so; the exit code, both outputs, and the request.
fn ask(place: &Place, words: &[&str], status: u16, body: &Value) -> (i32, String, String, String) {
    let socket = place.file("d.sock");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).expect("a socket");
    let body = body
        .as_str()
        .map_or_else(|| body.to_string(), str::to_owned);
    let daemon = thread::spawn(move || serve(&listener, status, &body));
    let words: Vec<_> = words
        .iter()
        .copied()
        .chain(["--socket", "d.sock"])
        .collect();
    let (code, out, err) = place.run(&words);
    let request = daemon.join().expect("it answered");
    (code, out, err, request)
}

fn domain() -> Value {
    json!({
        "name": "hello-1", "state": "live", "application": 7, "application-name": "hello",
        "addresses": ["10.0.0.2", "fd00::2"], "memory-mib": 16, "restarts": 0, "registered": true,
    })
}

#[test]
fn domains_are_listed_and_ended() {
    let place = Place::new();
    let (code, out, _, request) = ask(&place, &["ps"], 200, &json!({ "domains": [domain()] }));
    assert!(
        code == 0 && request.starts_with("GET /v1/domains HTTP/1.1"),
        "{request}"
    );
    assert!(out.contains("hello-1  live   7"), "{out}");
    assert!(
        out.contains("10.0.0.2,fd00::2") && out.contains("yes"),
        "{out}"
    );
    let log = json!("one\u{1b}[2J\ntwo\n");
    let (_, out, _, request) = ask(&place, &["logs", "hello-1"], 200, &log);
    assert!(
        request.starts_with("GET /v1/domains/hello-1/log"),
        "{request}"
    );
    assert_eq!(out, "one\u{fffd}[2J\ntwo\n");
    let stop = ["stop", "hello-1", "--drain-seconds", "9"];
    let (code, _, _, request) = ask(&place, &stop, 204, &json!(""));
    assert!(
        code == 0 && request.contains(r#"{"drain-seconds":9}"#),
        "{request}"
    );
    place.fails(2, &["stop", "../x"], &["no domain's name"]);
    place.fails(
        5,
        &["ps", "--socket", "none.sock"],
        &["none.sock cannot be reached"],
    );
}

#[test]
fn a_launch_hands_over_what_the_daemon_needs() {
    let place = Place::new();
    place.done(&["keygen", "h.pem"]);
    place.write("m.token", "token");
    place.write("hello.descriptor", "descriptor");
    place.write("c.toml", "[service]\na = 1\n");
    let launch = "launch hello.elf --token m.token --descriptor hello.descriptor --key h.pem \
        --config c.toml --env A=b=c --name hello-1";
    let launch: Vec<_> = launch.split_whitespace().collect();
    let (code, out, _, request) = ask(&place, &launch, 201, &domain());
    assert!(code == 0 && out.contains("hello-1"), "{out}");
    let (_, body) = request.split_once("\r\n\r\n").expect("a body");
    let body: Value = serde_json::from_str(body).expect("JSON");
    let key = std::fs::read_to_string(place.file("h.pem")).expect("a key");
    assert_eq!(
        body,
        json!({
            "name": "hello-1", "token": "dG9rZW4=", "descriptor": "ZGVzY3JpcHRvcg==",
            "image": "hello.elf", "key": key, "configuration": "[service]\na = 1\n",
            "environment": { "A": "b=c" }, "disk": null,
        })
    );
    let problem = json!({ "type": "urn:edgecloud:problem:token", "detail": "it has expired" });
    let (code, out, err, _) = ask(&place, &launch, 403, &problem);
    assert_eq!(code, 3);
    assert!(
        err.contains("the daemon refused (403): it has expired"),
        "{err}"
    );
    let secret = key.lines().nth(1).expect("a key");
    assert!(!format!("{out}{err}").contains(secret));
    place.write("c.toml", "a = ");
    place.fails(2, &launch, &["c.toml"]);
}

#[test]
fn an_application_is_cut_off_and_the_switch_explained() {
    let place = Place::new();
    let revoked = json!({ "applications": [7], "domains": ["hello-1"] });
    let (_, out, _, request) = ask(&place, &["revoke", "7"], 200, &revoked);
    assert!(
        request.starts_with("POST /v1/applications/7/revoke"),
        "{request}"
    );
    assert!(out.contains("hello-1"), "{out}");
    place.write("list", "signed");
    let (_, _, _, request) = ask(&place, &["revoke", "--list", "list"], 200, &revoked);
    assert!(request.starts_with("POST /v1/revocations"), "{request}");
    assert!(request.ends_with(r#"{"list":"c2lnbmVk"}"#), "{request}");
    let flows = json!({ "flows": [
        { "table": "rules", "class": "rule", "application": 7, "rule": 0, "flow": "table=4" },
    ] });
    let (_, out, _, _) = ask(&place, &["flows"], 200, &flows);
    assert!(
        out.contains("rules  rule   7            0     table=4"),
        "{out}"
    );
    let trace = "trace --from access --source 10.0.0.9 --target 192.0.2.1 --target-port 443";
    let trace: Vec<_> = trace.split(' ').collect();
    let told = json!({ "verdict": "redirected", "steps": ["rule 0", "replica 1"] });
    let (_, out, _, request) = ask(&place, &trace, 200, &told);
    assert!(request.contains(r#""target-port":443"#), "{request}");
    assert!(
        out.contains("verdict: redirected") && out.contains("  rule 0"),
        "{out}"
    );
    let (_, out, _, request) = ask(&place, &["--json", "accounts"], 200, &told);
    assert!(request.starts_with("GET /v1/accounts"), "{request}");
    assert_eq!(serde_json::from_str::<Value>(&out).expect("JSON"), told);
}
