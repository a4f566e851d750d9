//! A controller that is away or refuses: nobody is let in, and everybody is told. And one that lets
//! through whom the portal names, as slowly as a test wants.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};

use auth_proxy::limits::ADMISSION_GRACE_SECONDS;
use serde_json::{Value, json};

use crate::{Directory, Hotspot, LIMIT, TOKEN, check};

/// A key as a launch would have made it.
fn key() -> String {
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519"])
        .output()
        .expect("openssl");
    String::from_utf8(made.stdout).expect("PEM")
}

/// A hotspot with a controller at a port.
pub(crate) fn start(directory: &Directory, port: u16) -> Hotspot {
    let metadata = format!("http://127.0.0.1:{port}/v1/");
    let variables = [
        ("EDGECLOUD_METADATA", metadata.as_str()),
        ("EDGECLOUD_KEY", &key()),
    ];
    Hotspot::start_with(directory, "", &variables)
}

/// Redeems a voucher with a controller at a port, and nothing is kept of it.
fn refused(name: &str, port: u16, reason: &str) {
    let directory = Directory::new(name);
    let hotspot = start(&directory, port);
    let code = hotspot.vouchers("{\"count\":1}").remove(0);
    let answer = hotspot.redeem(1, &code);
    check(&answer, "503", &["role=\"alert\""]);
    assert!(hotspot.sessions().is_empty(), "it stayed outside");
    let page = hotspot.get(1, "portal.example", "/");
    assert!(!page.contains("You are online"), "{page}");
    // The voucher is as good as before: it was not begun.
    let vouchers = hotspot.operator(TOKEN, &[], "/v1/vouchers");
    assert!(vouchers.contains("\"used\":false"), "{vouchers}");
    let metrics = hotspot.metrics();
    let counted = format!("edgecloud_refusals_total{{reason=\"{reason}\"}} 1");
    assert!(metrics.contains(&counted), "{metrics}");
}

#[test]
fn a_controller_that_is_away_lets_nobody_in() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    refused("away", port, "controller-away");
}

#[test]
fn a_controller_that_refuses_lets_nobody_in() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(1..) = stream.read(&mut bytes) {
                    let no = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
                    if stream.write_all(no.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    refused("refuses", port, "controller-refuses");
}

/// A controller that does nothing but to remember whom it lets through, and to say what is free.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<Inside>, Condvar)>);

#[derive(Default)]
struct Inside {
    /// Until when it lets clients through.
    open: BTreeMap<String, u64>,
    /// Whether it lets nobody through any more.
    refuses: bool,
    /// Questions to close so far, and until how many have come none is answered.
    closing: usize,
    closing_min: usize,
    /// The client whose login is held up, and whether it is there.
    held: Option<String>,
    is_held: bool,
    /// What it says of free services; nothing if it refuses to say.
    free: Option<Value>,
    /// How often it has said that.
    said: usize,
}

impl Gate {
    /// Serves until the test's process ends; the port.
    pub(crate) fn serve(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let gate = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let gate = gate.clone();
                let Ok(stream) = stream else { return };
                // Who asked may have gone.
                std::thread::spawn(move || gate.converse(&stream).unwrap_or_default());
            }
        });
        port
    }

    /// One question, one answer.
    fn converse(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        reader.read_line(&mut head)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if let Some(told) = line.strip_prefix("content-length:") {
                length = told.trim().parse().unwrap_or(0);
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let mut words = head.split(' ');
        let method = words.next().unwrap_or_default();
        let path = words.next().unwrap_or_default();
        let (status, answer) = self.answer(method, path, &body);
        let answer = answer.to_string();
        let length = answer.len();
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
        let mut stream = stream;
        stream.write_all(format!("{head}{answer}").as_bytes())
    }

    fn answer(&self, method: &str, path: &str, body: &[u8]) -> (u16, Value) {
        if path.starts_with("/v1/free-services") {
            return self.change(|inside| {
                inside.said += 1;
                match &inside.free {
                    Some(free) => (200, free.clone()),
                    None => (503, Value::Null),
                }
            });
        }
        let Some(rest) = path.strip_prefix("/v1/admissions") else {
            return (404, Value::Null);
        };
        let (inside, told) = &*self.0;
        let mut inside = inside.lock().expect("nobody panicked");
        let counted = |address: &String| json!({"address": address, "sent": 0, "received": 0});
        match method {
            "GET" => {
                let all: Vec<Value> = inside.open.keys().map(counted).collect();
                (200, json!({"admissions": all}))
            }
            "POST" => {
                let asked: Value = serde_json::from_slice(body).expect("JSON");
                let address = asked["address"].as_str().expect("an address").to_owned();
                let expires = asked["expires"].as_u64().expect("a time");
                // By its port a login differs from what the portal brings together.
                if asked["port"].is_u64() && inside.held.as_ref() == Some(&address) {
                    inside.is_held = true;
                    told.notify_all();
                    let waits = |inside: &mut Inside| inside.held.is_some();
                    let waited = told.wait_timeout_while(inside, LIMIT, waits);
                    inside = waited.expect("nobody panicked").0;
                }
                if inside.refuses {
                    return (403, Value::Null);
                }
                inside.open.insert(address, expires);
                (200, Value::Null)
            }
            _ => {
                inside.closing += 1;
                told.notify_all();
                let waits = |inside: &mut Inside| inside.closing < inside.closing_min;
                let waited = told.wait_timeout_while(inside, LIMIT, waits);
                let (mut inside, _) = waited.expect("nobody panicked");
                let address = rest.trim_start_matches('/').to_owned();
                inside.open.remove(&address);
                told.notify_all();
                (200, counted(&address))
            }
        }
    }

    fn change<T>(&self, how: impl FnOnce(&mut Inside) -> T) -> T {
        let changed = how(&mut self.0.0.lock().expect("nobody panicked"));
        self.0.1.notify_all();
        changed
    }

    /// Waits until it is so.
    fn until(&self, mut is_so: impl FnMut(&Inside) -> bool) {
        let (inside, told) = &*self.0;
        let inside = inside.lock().expect("nobody panicked");
        let waited = told.wait_timeout_while(inside, LIMIT, |inside| !is_so(inside));
        assert!(!waited.expect("nobody panicked").1.timed_out());
    }

    /// Says this of free services from now on; returns once the portal has heard it: who asks again has taken
    /// over the answer before.
    pub(crate) fn free(&self, free: Option<Value>) {
        let said = self.change(|inside| {
            inside.free = free;
            inside.said
        });
        self.until(|inside| inside.said >= said + 2);
    }

    fn open(&self) -> Vec<String> {
        self.change(|inside| inside.open.keys().cloned().collect())
    }
}

#[test]
fn of_many_who_redeem_a_used_voucher_at_once_one_gets_in() {
    let directory = Directory::new("crowd");
    let gate = Gate::default();
    let hotspot = start(&directory, gate.serve());
    let code = hotspot.vouchers("{\"count\":1}").remove(0);
    check(&hotspot.redeem(1, &code), "303", &[]);
    // All of them find the first one there before it has ended for any of them.
    let crowd = [2, 3, 4];
    gate.change(|inside| inside.closing_min = crowd.len());
    std::thread::scope(|scope| {
        for client in crowd {
            let (hotspot, code) = (&hotspot, &code);
            // Some are displaced before the way has opened, and told so.
            scope.spawn(move || hotspot.redeem(client, code));
        }
    });
    let inside = hotspot.sessions();
    assert_eq!(inside.len(), 1, "{inside:?}");
    assert_ne!(inside, [IpAddr::from([127, 0, 1, 1])]);
    // Nor does the switch let more through, but for what the portal brings together every two seconds.
    gate.until(|state| state.open.len() < 2);
    assert_eq!(gate.open(), [inside[0].to_string()]);
}

#[test]
fn who_is_displaced_while_the_way_opens_finds_it_closed() {
    let directory = Directory::new("displaced");
    let gate = Gate::default();
    let hotspot = start(&directory, gate.serve());
    let code = hotspot.vouchers("{\"count\":1}").remove(0);
    gate.change(|inside| inside.held = Some("127.0.1.1".to_owned()));
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| hotspot.redeem(1, &code));
        gate.until(|inside| inside.is_held);
        check(&hotspot.redeem(2, &code), "303", &[]);
        gate.change(|inside| inside.held = None);
        check(&slow.join().expect("an answer"), "503", &[]);
    });
    assert_eq!(hotspot.sessions(), [IpAddr::from([127, 0, 1, 2])]);
    assert_eq!(gate.open(), ["127.0.1.2"]);
}

#[test]
fn who_logs_in_again_while_the_controller_refuses_keeps_the_session() {
    let directory = Directory::new("again");
    let gate = Gate::default();
    let hotspot = start(&directory, gate.serve());
    let code = hotspot.vouchers("{\"count\":1}").remove(0);
    check(&hotspot.redeem(1, &code), "303", &[]);
    gate.change(|inside| inside.refuses = true);
    check(&hotspot.redeem(1, &code), "503", &["role=\"alert\""]);
    assert_eq!(hotspot.sessions(), [IpAddr::from([127, 0, 1, 1])]);
    hotspot.kill();
    let hotspot = start(&directory, gate.serve());
    assert_eq!(hotspot.sessions(), [IpAddr::from([127, 0, 1, 1])]);
}

#[test]
fn a_login_that_fails_leaves_the_pass_to_who_began_on_it_meanwhile() {
    let directory = Directory::new("shared");
    let gate = Gate::default();
    let hotspot = start(&directory, gate.serve());
    let order = "{\"count\":1,\"quota\":{\"devices\":2}}";
    let code = hotspot.vouchers(order).remove(0);
    gate.change(|inside| inside.held = Some("127.0.1.1".to_owned()));
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| hotspot.redeem(1, &code));
        gate.until(|inside| inside.is_held);
        check(&hotspot.redeem(2, &code), "303", &[]);
        gate.change(|inside| (inside.refuses, inside.held) = (true, None));
        check(&slow.join().expect("an answer"), "503", &[]);
    });
    hotspot.kill();
    let hotspot = start(&directory, gate.serve());
    assert_eq!(hotspot.sessions(), [IpAddr::from([127, 0, 1, 2])]);
}

#[test]
fn the_host_lets_a_client_through_until_the_portal_has_ended_it() {
    let directory = Directory::new("grace");
    let gate = Gate::default();
    let hotspot = start(&directory, gate.serve());
    let order = "{\"count\":1,\"quota\":{\"seconds\":600}}";
    let code = hotspot.vouchers(order).remove(0);
    check(&hotspot.redeem(1, &code), "303", &[]);
    let answer = hotspot.operator(TOKEN, &[], "/v1/sessions");
    let (body, _) = answer.rsplit_once('\n').expect("a status");
    let told: Value = serde_json::from_str(body).expect("JSON");
    let began = told["sessions"][0]["began"].as_u64().expect("a time");
    let expires = gate.change(|inside| inside.open["127.0.1.1"]);
    assert_eq!(expires, began + 600 + ADMISSION_GRACE_SECONDS);
}
