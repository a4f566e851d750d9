//! The daemon on a switch and a toolstack that only write down what they are asked.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use data_encoding::BASE64;
use edgecloudd::api::documents::{Launch, Registration, Stop};
use edgecloudd::config::Config;
use edgecloudd::daemon::{Daemon, now};
use edgecloudd::domains::{Domains, DomainsError, Found, Spec};
use edgecloudd::names::Learned;
use edgecloudd::ovs::{Counters, Opener, Probe, Traced};
use edgecloudd::pipeline::{DesiredState, Host, ReplicaState, Side};
use edgecloudd::store::Store;
use edgecloudd::switch::{Switch, SwitchError};
use full_disk::FullDisk;
use manifest::{
    ApplicationNumber, Claims, Device, Digest, Grant, ImageDescriptor, Manifest, Proof, Serial,
    Signed, SigningKey, Token,
};
use openflow::{Flow, PortNumber};

/// What was asked, in order, and what is to fail.
#[derive(Debug, Default)]
struct Asked {
    calls: Mutex<Vec<String>>,
    fails: Mutex<Option<&'static str>>,
    /// Whether no domain is found running.
    gone: AtomicBool,
    /// Whether domains were asked to end.
    shutdown: tokio::sync::watch::Sender<bool>,
}

impl Asked {
    fn note(&self, call: String) -> Result<(), String> {
        let fails = self
            .fails
            .lock()
            .unwrap()
            .is_some_and(|word| call.starts_with(word));
        self.calls.lock().unwrap().push(call);
        match fails {
            true => Err("it is broken".to_owned()),
            false => Ok(()),
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }
}

struct Site(Arc<Asked>);

#[async_trait]
impl Switch for Site {
    async fn apply(&self, desired: Arc<DesiredState>) -> Result<usize, SwitchError> {
        let replica = |r: &edgecloudd::pipeline::Replica| format!("{} {:?}", r.number, r.state);
        let all: Vec<String> = desired.replicas().map(|(_, r)| replica(r)).collect();
        let told = self.0.note(format!("apply [{}]", all.join(", ")));
        told.map(|()| 1).map_err(SwitchError)
    }
    async fn settled(&self) -> Result<(), SwitchError> {
        self.0.note("settled".to_owned()).map_err(SwitchError)
    }
    async fn flush_zone(&self, zone: u16) -> Result<(), SwitchError> {
        self.0.note(format!("flush {zone}")).map_err(SwitchError)
    }
    async fn flows(&self) -> Result<Vec<Flow>, SwitchError> {
        Ok(vec![])
    }
    async fn counters(&self) -> Result<Counters, SwitchError> {
        Ok(Counters::default())
    }
    async fn plug(&self, interface: &str) -> Result<PortNumber, SwitchError> {
        self.0
            .note(format!("plug {interface}"))
            .map_err(SwitchError)?;
        Ok(PortNumber(interface[3..].parse::<u32>().unwrap() + 10))
    }
    async fn port(&self, interface: &str) -> Result<PortNumber, SwitchError> {
        Ok(PortNumber(interface[3..].parse::<u32>().unwrap() + 10))
    }
    async fn neighbour(&self, _: IpAddr, _: [u8; 6]) -> Result<(), SwitchError> {
        Ok(())
    }
    async fn openers(&self, _: u16) -> Result<Vec<Opener>, SwitchError> {
        Ok(Vec::new())
    }
    async fn trace(&self, _: &Probe) -> Result<Traced, SwitchError> {
        Err(SwitchError("it only writes down".to_owned()))
    }
    async fn unplug(&self, interface: &str) -> Result<(), SwitchError> {
        self.0
            .note(format!("unplug {interface}"))
            .map_err(SwitchError)
    }
}

#[async_trait]
impl Domains for Site {
    async fn prepare(&self, spec: &Spec) -> Result<String, DomainsError> {
        self.0
            .note(format!("prepare {}", spec.number))
            .map_err(DomainsError)?;
        Ok(format!("vif{}", spec.number))
    }
    async fn start(&self, spec: &Spec) -> Result<u32, DomainsError> {
        self.0
            .note(format!("start {}", spec.number))
            .map_err(DomainsError)?;
        Ok(spec.number + 100)
    }
    async fn find(&self, spec: &Spec) -> Result<Option<Found>, DomainsError> {
        let interface = format!("vif{}", spec.number);
        let id = spec.number + 100;
        let gone = self.0.gone.load(Ordering::Relaxed);
        Ok((!gone).then_some(Found { id, interface }))
    }
    async fn ended(&self, _: &Spec, _: u32) {
        // The sender is there as long as this is.
        let _ = self.0.shutdown.subscribe().wait_for(|asked| *asked).await;
    }
    async fn shutdown(&self, spec: &Spec, _: u32) {
        let _ = self.0.note(format!("shutdown {}", spec.number));
        self.0.shutdown.send_replace(true);
    }
    async fn destroy(&self, spec: &Spec) -> Result<(), DomainsError> {
        self.0
            .note(format!("destroy {}", spec.number))
            .map_err(DomainsError)
    }
    fn interface(&self, spec: &Spec) -> Option<String> {
        Some(format!("vif{}", spec.number))
    }
    async fn log(&self, _: &Spec, _: usize) -> Result<String, DomainsError> {
        Ok(String::new())
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

const IMAGE: &[u8] = b"an ELF";

/// A daemon with its files in a directory, which is kept.
async fn daemon(directory: &std::path::Path, asked: &Arc<Asked>) -> Arc<Daemon> {
    let store = Store::open(&directory.join("edgecloudd.redb")).unwrap();
    daemon_with(store, directory, asked).await
}

/// A daemon with its database on a disk.
async fn daemon_on(
    disk: &FullDisk,
    directory: &std::path::Path,
    asked: &Arc<Asked>,
) -> Arc<Daemon> {
    let disk = disk.clone();
    let store = Store::opened_by(move || disk.open()).unwrap();
    daemon_with(store, directory, asked).await
}

async fn daemon_with(store: Store, directory: &std::path::Path, asked: &Arc<Asked>) -> Arc<Daemon> {
    let example = include_str!("../example/edgecloudd.toml")
        .replace("/var/lib/edgecloud", &directory.display().to_string())
        .replace(
            "ed25519:PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw",
            &key(9).public().to_string(),
        );
    let file = directory.join("edgecloudd.toml");
    std::fs::write(&file, example).unwrap();
    std::fs::create_dir_all(directory.join("images")).unwrap();
    std::fs::write(directory.join("images/a.elf"), IMAGE).unwrap();
    let config = Config::read(&file).unwrap();
    let host = Host {
        access: PortNumber(1),
        backhaul: PortNumber(2),
        mac: [2, 0, 0, 0, 0, 1],
        addresses: config.network.addresses.clone(),
        gateway: config.network.gateway_mac.0,
        clients: config.network.clients.clone(),
        resolvers: config.network.resolvers.clone(),
        time_servers: vec![],
        dhcp: Side::Host,
    };
    let (switch, domains) = (Arc::new(Site(asked.clone())), Arc::new(Site(asked.clone())));
    Daemon::start(config, store, host, switch, domains)
        .await
        .unwrap()
}

/// A launch of an application with a number, whose domains have a key of their own; it serves a
/// name of its own.
fn launch(application: u32, holder: u8) -> Launch {
    launch_serving(&format!("a{application}"), application, holder)
}

fn launch_serving(name: &str, application: u32, holder: u8) -> Launch {
    let rules = format!("[[serve]]\nas = \"{name}.isp.example\"\ntcp = [443]\n");
    launch_with(&rules, application, holder)
}

/// A launch of an application with these rules.
fn launch_with(rules: &str, application: u32, holder: u8) -> Launch {
    let text = format!(
        "name = \"a\"\npublisher = \"{}\"\nexpires = 2099-01-01T00:00:00Z\n\
         {rules}[bill]\naccount = \"a\"\nfree-to-client = true\n",
        key(1).public()
    );
    let manifest = Manifest::from_toml(&text).unwrap();
    let grants = manifest.rules().iter().cloned().zip(0..);
    let claims = Claims {
        issuer: "isp.example".parse().unwrap(),
        hosts: vec!["edge-1.isp.example".parse().unwrap()],
        expires: now().after(3600),
        not_before: now(),
        serial: Serial(u64::from(application)),
        publisher: key(1).public(),
        application: manifest.name().clone(),
        number: ApplicationNumber::new(application).unwrap(),
        manifest: manifest.digest(),
        image: Digest::of(IMAGE),
        holder: key(holder).public(),
        grants: grants.map(|(rule, index)| Grant { index, rule }).collect(),
        on_fail: manifest.on_fail(),
        limit: manifest.limit(),
        bill: manifest.bill().clone(),
    };
    let token = Signed::sign(Token::new(claims).unwrap(), &key(9));
    let descriptor = ImageDescriptor {
        name: "a".parse().unwrap(),
        digest: Digest::of(IMAGE),
        publisher: key(1).public(),
        memory_mib: 16,
        devices: [Device::Network].into(),
        version: "1".to_owned(),
    };
    let descriptor = Signed::sign(descriptor, &key(1));
    let key = key(holder).to_pem().unwrap().to_string();
    serde_json::from_value(serde_json::json!({
        "token": BASE64.encode(token.bytes()),
        "descriptor": BASE64.encode(descriptor.bytes()),
        "image": "a.elf",
        "key": key,
    }))
    .unwrap()
}

#[tokio::test]
async fn the_switch_knows_a_domain_before_it_runs_and_forgets_it_before_it_goes() {
    let (directory, asked) = (tempfile::tempdir().unwrap(), Arc::default());
    let daemon = daemon(directory.path(), &asked).await;
    let domain = daemon.launch(launch(7, 4)).await.unwrap();
    assert_eq!(
        (domain.name.as_str(), domain.replica, domain.port),
        ("a-1", 1, Some(11))
    );
    assert_eq!(
        domain.addresses[..2],
        [
            "10.0.1.2".parse::<IpAddr>().unwrap(),
            "fd00:1::2".parse().unwrap()
        ]
    );
    let calls = asked.take();
    let mut rest: Vec<&str> = calls.iter().map(String::as_str).collect();
    rest.retain(|call| *call != "apply []");
    let order = [
        "destroy 1",
        "prepare 1",
        "plug vif1",
        "apply [1 Starting]",
        "start 1",
    ];
    assert_eq!(rest[..5], order, "{calls:?}");

    let revoked = daemon.revoke(7).await.unwrap();
    assert_eq!(revoked.domains, ["a-1"]);
    let calls = asked.take();
    let place = |call: &str| calls.iter().position(|c| c == call).unwrap();
    assert!(place("apply []") < place("flush 1"), "{calls:?}");
    assert!(!calls.contains(&"shutdown 1".to_owned()), "{calls:?}");
}

#[tokio::test]
async fn a_domain_that_cannot_be_made_leaves_nothing() {
    let (directory, asked) = (tempfile::tempdir().unwrap(), Arc::<Asked>::default());
    let daemon = daemon(directory.path(), &asked).await;
    for broken in ["prepare", "plug", "start"] {
        *asked.fails.lock().unwrap() = Some(broken);
        let refusal = daemon.launch(launch(7, 4)).await.unwrap_err();
        assert!(refusal.to_string().contains("it is broken"), "{refusal}");
        assert_eq!(daemon.domains().domains, []);
    }
    *asked.fails.lock().unwrap() = None;
    let domain = daemon.launch(launch(7, 4)).await.unwrap();
    assert_eq!(domain.addresses[0].to_string(), "10.0.1.2");
    // Numbers come back late.
    assert_eq!(domain.replica, 4);
}

#[tokio::test]
async fn a_name_is_served_by_one_application() {
    let (directory, asked) = (tempfile::tempdir().unwrap(), Arc::default());
    let daemon = daemon(directory.path(), &asked).await;
    daemon.launch(launch(7, 4)).await.unwrap();
    let claim = || launch_serving("a7", 8, 5);
    let refusal = daemon.launch(claim()).await.unwrap_err();
    assert_eq!(refusal.name_and_status(), ("name-served", 409));
    // A second replica is no other application, and who is gone serves nothing.
    daemon.launch(launch(7, 4)).await.unwrap();
    for name in ["a-1", "a-2"] {
        daemon.stop(name, Stop { drain_seconds: 0 }).await.unwrap();
    }
    daemon.launch(claim()).await.unwrap();
}

/// What a domain with an address and a key sends to register.
fn proof(daemon: &Daemon, address: IpAddr, holder: u8) -> Registration {
    let challenge = daemon.challenge(address).unwrap();
    let nonce = BASE64.decode(challenge.nonce.as_bytes()).unwrap();
    let token = BASE64.decode(challenge.token.as_bytes()).unwrap();
    let proof = Proof {
        nonce: nonce.try_into().unwrap(),
        token: Digest::of(&token),
    };
    let proof = BASE64.encode(Signed::sign(proof, &key(holder)).bytes());
    let token = challenge.token;
    Registration { token, proof }
}

#[tokio::test]
async fn only_a_domain_with_its_key_becomes_live_and_no_neighbour_in_its_place() {
    let (directory, asked) = (tempfile::tempdir().unwrap(), Arc::default());
    let daemon = daemon(directory.path(), &asked).await;
    let one = daemon.launch(launch(7, 4)).await.unwrap().addresses[0];
    let two = daemon.launch(launch(8, 5)).await.unwrap().addresses[0];
    let prove = |address: IpAddr, holder: u8| proof(&daemon, address, holder);
    let check = |address: IpAddr, registration: &Registration, expected: Option<&str>| {
        let refused = daemon.register(address, registration).err();
        let word = refused.map(|refusal| refusal.name_and_status().0);
        assert_eq!(word, expected);
    };
    assert_eq!(
        daemon.be_ready(one).await.unwrap_err().name_and_status().0,
        "not-registered"
    );
    check(one, &prove(one, 5), Some("proof"));
    let own = prove(one, 4);
    check(two, &own, Some("proof"));
    check("10.0.1.99".parse().unwrap(), &own, Some("not-a-domain"));
    check(one, &own, None);
    // Each nonce is taken once.
    check(one, &own, Some("proof"));
    daemon.be_ready(one).await.unwrap();
    assert_eq!(
        daemon.state(one, Some("starting")).await.unwrap().state,
        "live"
    );
    assert_eq!(daemon.state(two, None).await.unwrap().state, "starting");
    let name = "a7.isp.example".parse().unwrap();
    let served = daemon.interest().borrow().served[&name].clone();
    assert_eq!(served, [one, "fd00:1::2".parse().unwrap()].into());
}

#[tokio::test]
async fn what_was_is_again_after_a_restart() {
    let (directory, asked) = (tempfile::tempdir().unwrap(), Arc::<Asked>::default());
    let first = daemon(directory.path(), &asked).await;
    first.launch(launch(7, 4)).await.unwrap();
    first.launch(launch(8, 5)).await.unwrap();
    let known = (first.domains(), first.applications());
    // A kill closes its files; here its tasks would keep them.
    let copy = tempfile::tempdir().unwrap();
    let file = "edgecloudd.redb";
    std::fs::copy(directory.path().join(file), copy.path().join(file)).unwrap();
    asked.take();
    let second = daemon(copy.path(), &asked).await;
    assert_eq!((second.domains(), second.applications()), known);
    second.stop("a-1", Stop { drain_seconds: 0 }).await.unwrap();
    let calls = asked.take();
    let started = calls
        .iter()
        .any(|call| call.starts_with("prepare") || call.starts_with("start"));
    assert!(!started, "{calls:?}");
    assert!(
        calls.contains(&format!(
            "apply [1 {:?}, 2 Starting]",
            ReplicaState::Draining
        )),
        "{calls:?}"
    );
    assert_eq!(second.domains().domains.len(), 1);
}

/// With a full disk nobody new is launched, but who is revoked is cut; that is written once there is
/// room, and is not undone by a restart.
#[tokio::test]
async fn a_full_disk_keeps_nobody_who_is_revoked() {
    let (directory, asked) = (tempfile::tempdir().unwrap(), Arc::<Asked>::default());
    let disk = FullDisk::new().unwrap();
    let first = daemon_on(&disk, directory.path(), &asked).await;
    first.launch(launch(7, 4)).await.unwrap();
    first.launch(launch(8, 5)).await.unwrap();
    disk.leave(0);
    asked.take();
    let refused = first.launch(launch(9, 6)).await.unwrap_err();
    assert_eq!(refused.name_and_status().0, "storage");
    let refused = first.revoke(7).await.unwrap_err();
    assert_eq!(refused.name_and_status().0, "unwritten");
    let calls = asked.take();
    let flushed = calls.iter().position(|call| call.starts_with("flush"));
    let applied = calls.iter().position(|call| call == "apply [2 Starting]");
    assert!(flushed.is_some() && applied < flushed, "{calls:?}");

    let is_withdrawn = |daemon: &Daemon| {
        let all = daemon.applications().applications;
        let application = all.iter().find(|application| application.number == 7);
        application.expect("it is known").withdrawn.is_some()
    };
    assert!(is_withdrawn(&first));
    let copy = disk.copy().unwrap();
    let before = daemon_on(&copy, directory.path(), &Arc::default()).await;
    assert!(!is_withdrawn(&before), "it was written on a full disk");
    disk.clear();
    // The next change is written after it.
    first.stop("a-2", Stop { drain_seconds: 0 }).await.unwrap();
    let copy = disk.copy().unwrap();
    let second = daemon_on(&copy, directory.path(), &Arc::default()).await;
    assert!(is_withdrawn(&second), "it is undone");
}

/// An appliance that hears that it drains closes its listeners at once: nobody may be on the way to it.
#[tokio::test]
async fn a_domain_hears_that_it_drains_when_the_switch_has_settled() {
    let (directory, asked) = (tempfile::tempdir().unwrap(), Arc::<Asked>::default());
    let daemon = daemon(directory.path(), &asked).await;
    let address = daemon.launch(launch(7, 4)).await.unwrap().addresses[0];
    asked.take();
    let stopping = Arc::clone(&daemon);
    let stop = Stop { drain_seconds: 60 };
    let stopping = tokio::spawn(async move { stopping.stop("a-1", stop).await });
    let told = daemon.state(address, Some("starting")).await.unwrap();
    assert_eq!(told.state, "draining");
    let calls = asked.take();
    let place = |call: &str| calls.iter().position(|c| c == call).expect(call);
    assert!(place("apply [1 Draining]") < place("settled"), "{calls:?}");
    stopping.abort();
}

/// A stop whose caller leaves goes on, and a daemon that begins after the domain has ended does not start it
/// again.
#[tokio::test]
async fn a_domain_that_drains_ends_whoever_goes_meanwhile() {
    let (directory, asked) = (tempfile::tempdir().unwrap(), Arc::<Asked>::default());
    let first = daemon(directory.path(), &asked).await;
    let address = first.launch(launch(7, 4)).await.unwrap().addresses[0];
    let stopping = Arc::clone(&first);
    let stop = Stop { drain_seconds: 1 };
    let stopping = tokio::spawn(async move { stopping.stop("a-1", stop).await });
    let told = first.state(address, Some("starting")).await.unwrap();
    assert_eq!(told.state, "draining");
    stopping.abort();
    let copy = tempfile::tempdir().unwrap();
    let file = "edgecloudd.redb";
    std::fs::copy(directory.path().join(file), copy.path().join(file)).unwrap();
    first
        .state(address, Some("draining"))
        .await
        .expect_err("it has ended");

    let asked = Arc::<Asked>::default();
    asked.gone.store(true, Ordering::Relaxed);
    let second = daemon(copy.path(), &asked).await;
    second
        .state(address, Some("draining"))
        .await
        .expect_err("it has ended");
    let left = [&first, &second].map(|daemon| daemon.domains().domains.len());
    assert_eq!(left, [0, 0]);
    let calls = asked.take();
    assert!(!calls.contains(&"prepare 1".to_owned()), "{calls:?}");
}

const GATE: &str = "[[admit]]\nfrom = \"clients\"\n";
const CHAT: &str = "[[admit]]\nfrom = \"clients\"\nto = { name = \"chat.example\", tcp = [80, 443] }\n\
                    [[admit]]\nfrom = \"10.0.0.0/28\"\n\
                    to = { name = \"*.news.example\", tcp = [443] }\n";

/// What the resolver learned of a name, until the switch knows it.
async fn learn(daemon: &Arc<Daemon>, name: &str, addresses: &[&str]) {
    let (tell, told) = tokio::sync::oneshot::channel();
    daemon.learn(Learned {
        name: name.parse().unwrap(),
        current: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        installed: Some(tell),
    });
    told.await.unwrap();
}

#[tokio::test]
async fn free_services_are_told_to_who_keeps_a_gate_and_to_nobody_else() {
    let (directory, asked) = (tempfile::tempdir().unwrap(), Arc::<Asked>::default());
    let daemon = daemon(directory.path(), &asked).await;
    let portal = daemon
        .launch(launch_with(GATE, 7, 4))
        .await
        .unwrap()
        .addresses[0];
    let chat = daemon
        .launch(launch_with(CHAT, 8, 5))
        .await
        .unwrap()
        .addresses[0];
    let refused = async |address| {
        let refused = daemon.free_services(address, None).await.unwrap_err();
        refused.name_and_status()
    };
    assert_eq!(refused(portal).await, ("not-registered", 403));
    daemon.register(portal, &proof(&daemon, portal, 4)).unwrap();
    daemon.register(chat, &proof(&daemon, chat, 5)).unwrap();
    // A rule with `to` pays, and keeps no gate.
    assert_eq!(refused(chat).await, ("not-granted", 403));
    assert_eq!(
        refused("10.0.1.99".parse().unwrap()).await,
        ("not-a-domain", 404)
    );

    // The names are looked up before anybody asks.
    let ahead = daemon.interest().borrow().ahead.clone();
    assert_eq!(ahead, ["chat.example".parse().unwrap()].into());
    let none = daemon.free_services(portal, None).await.unwrap();
    assert_eq!(none.services, []);
    learn(&daemon, "chat.example", &["203.0.113.8"]).await;
    learn(&daemon, "a.news.example", &["203.0.113.9"]).await;
    let some = daemon.free_services(portal, Some(&none.version)).await;
    let some = some.unwrap();
    let expected = serde_json::json!([
        {"name": "chat.example", "service": "chat.example", "payer": "8.0", "clients": null,
         "tcp": [[80, 80], [443, 443]], "addresses": ["203.0.113.8"]},
        {"name": "a.news.example", "service": "*.news.example", "payer": "8.1", "clients": "10.0.0.0/28",
         "tcp": [[443, 443]], "addresses": ["203.0.113.9"]},
    ]);
    assert_eq!(serde_json::to_value(&some.services).unwrap(), expected);
    assert_eq!(some.payers, ["8.0", "8.1"]);
    // What has no address has somebody who pays.
    assert_eq!(none.payers, some.payers);

    // Who knows them hears of it when one is withdrawn, after the switch has.
    let waiting = {
        let (daemon, version) = (Arc::clone(&daemon), some.version.clone());
        tokio::spawn(async move { daemon.free_services(portal, Some(&version)).await })
    };
    daemon.revoke(8).await.unwrap();
    let left = waiting.await.unwrap().unwrap();
    assert_eq!((left.services.len(), left.payers.len()), (0, 0));
    daemon.revoke(7).await.unwrap();
    assert_eq!(refused(portal).await, ("not-a-domain", 404));
}
