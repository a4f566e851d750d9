//! A switch of our own: ovsdb-server and ovs-vswitchd with Open vSwitch's userspace datapath, in a
//! network namespace and a directory of their own.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::debian::program;
use openflow::{Deframer, Header, Hello, Message, Version};

/// Longer than a busy computer takes for any answer; without it a switch that is silent would keep
/// the test forever.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);

pub(crate) struct Switch {
    directory: PathBuf,
    daemons: Vec<Child>,
}

impl Switch {
    pub(crate) fn start() -> Switch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // The other programs come with it.
        program("ovs-vswitchd", "openvswitch-switch");
        let name = format!("switch-{}-{count}", std::process::id());
        // Paths of sockets have 108 bytes at most, which a target directory can exceed.
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        let mut switch = Switch {
            directory,
            daemons: Vec::new(),
        };
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        switch.run("ovsdb-tool", &["create", "conf.db", schema]);
        let server = [
            "ovsdb-server",
            "conf.db",
            "--remote=punix:db.sock",
            "--log-file=db.log",
        ];
        switch.daemon(&server);
        // The database is there when this returns.
        switch.run(
            "ovs-vsctl",
            &["--db=unix:db.sock", "--no-wait", "--retry", "init"],
        );
        let vswitchd = [
            "ovs-vswitchd",
            "unix:db.sock",
            "--log-file=switch.log",
            "--pidfile=s.pid",
        ];
        switch.daemon(&vswitchd);
        let bridge = "--db=unix:db.sock --timeout=120 add-br br0 -- set bridge br0 \
            datapath_type=netdev fail_mode=secure protocols=OpenFlow13,OpenFlow15";
        // The switch has the bridge when this returns.
        switch.run("ovs-vsctl", &bridge.split_whitespace().collect::<Vec<_>>());
        switch
    }

    fn command(&self, name: &str) -> Command {
        let mut command = program(name, "openvswitch-switch");
        command.current_dir(&self.directory).stdin(Stdio::null());
        for variable in ["OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, &self.directory);
        }
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program).args(arguments).output();
        let output = output.expect("a program of Open vSwitch starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {errors}{}",
            self.log()
        );
    }

    fn daemon(&mut self, line: &[&str]) {
        // A namespace of its own, whose port nobody else sees; and no daemon outlives the test.
        let mut command = self.command("setpriv");
        command
            .args(["--pdeathsig", "KILL", "unshare", "--net", "--"])
            .args(line)
            .arg("-vconsole:off");
        let child = command.spawn().expect("setpriv and unshare start");
        self.daemons.push(child);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("switch.log")).unwrap_or_default()
    }

    pub(crate) fn connect(&self, version: Version) -> Connection {
        Connection::new(&self.directory.join("br0.mgmt"), version)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            // It may have ended by itself; then there is nothing to end.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A connection on which a version was agreed.
pub(crate) struct Connection {
    stream: UnixStream,
    deframer: Deframer,
    version: Version,
    xid: u32,
}

impl Connection {
    fn new(socket: &Path, version: Version) -> Connection {
        let stream = UnixStream::connect(socket).expect("the bridge's socket");
        stream
            .set_read_timeout(Some(ANSWER_TIME_MAX))
            .expect("a time that is not 0");
        let deframer = Deframer::default();
        let mut connection = Connection {
            stream,
            deframer,
            version,
            xid: 0,
        };
        let bitmap = Some(1 << version.wire());
        connection.send(&Message::Hello(Hello {
            highest: version.wire(),
            bitmap,
        }));
        let (_, hello) = connection.receive();
        let Message::Hello(hello) = hello else {
            panic!("not a hello: {hello:?}")
        };
        assert_eq!(
            hello.negotiate(),
            Some(Version::V15),
            "the switch speaks both"
        );
        connection
    }

    /// Sends a message and returns its number.
    pub(crate) fn send(&mut self, message: &Message) -> u32 {
        self.xid += 1;
        let header = Header {
            version: self.version,
            xid: self.xid,
        };
        let bytes = message
            .emit(header)
            .unwrap_or_else(|error| panic!("{error}: {message:?}"));
        self.stream.write_all(&bytes).expect("the switch reads");
        self.xid
    }

    pub(crate) fn receive(&mut self) -> (Header, Message) {
        loop {
            if let Some(bytes) = self.deframer.next_message().expect("a stream of messages") {
                return Message::parse(bytes)
                    .unwrap_or_else(|error| panic!("{error}: {bytes:02x?}"));
            }
            let mut bytes = [0; 65536];
            let count = self.stream.read(&mut bytes).expect("the switch answers");
            assert!(count > 0, "the switch closed the connection");
            self.deframer.push(&bytes[..count]);
        }
    }

    /// Sends a message and returns the answer to it.
    pub(crate) fn ask(&mut self, message: &Message) -> Message {
        let xid = self.send(message);
        self.answer(xid)
    }

    /// The next answer to a message; what comes unasked is passed over.
    pub(crate) fn answer(&mut self, xid: u32) -> Message {
        loop {
            let (header, answer) = self.receive();
            if header.xid == xid {
                return answer;
            }
            assert!(!matches!(answer, Message::Error(_)), "{answer:?}");
        }
    }
}
