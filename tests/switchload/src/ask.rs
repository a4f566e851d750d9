//! The switches: each keeps a window of packets in flight, and counts what a controller completes.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::frame::{HOSTS, Packet, announcement, mac};
use crate::wire::{Said, Version, split};

/// One bit for each host.
const _: () = assert!(HOSTS == u64::BITS);
/// How much is read at once.
const READ: usize = 65_536;
/// How long a controller may take until it has greeted a switch and learnt where its hosts are.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// A controller that says nothing for so long has dropped what it was asked: it counts as lost.
const LOST_AFTER: Duration = Duration::from_millis(500);
/// How long it runs before it is measured.
const WARM_UP: Duration = Duration::from_millis(500);
/// `sysconf(_SC_CLK_TCK)`, which is 100 on every Linux that Debian runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What is put to a controller.
pub(crate) struct Load {
    pub(crate) controller: SocketAddr,
    pub(crate) version: Version,
    pub(crate) switches: u16,
    /// Packets of each switch that wait for an answer.
    pub(crate) window: u32,
    pub(crate) measured: Duration,
    /// The controller's process.
    pub(crate) process: u32,
}

/// What came of it, while it was measured.
pub(crate) struct Told {
    /// Packets for which the right flow was installed, and which then left by the right port.
    pub(crate) setups: u64,
    /// Packets of which nothing, or only one of the two, was heard again; since the beginning.
    pub(crate) lost: u64,
    pub(crate) seconds: f64,
    pub(crate) processor_seconds: f64,
}

/// Counts of all switches.
#[derive(Default)]
struct Counts {
    ready: Cell<u16>,
    setups: Cell<u64>,
    lost: Cell<u64>,
}

impl Load {
    /// Connects all switches, lets the controller learn, and measures.
    pub(crate) async fn put(&self) -> Result<Told> {
        let counts = Rc::new(Counts::default());
        let tasks = tokio::task::LocalSet::new();
        let mut switches = tokio::task::JoinSet::new();
        // Who is connected greets while the next connects: a controller may accept few at once, and
        // end what says nothing for a second.
        let connected = tasks.run_until(async {
            for number in 1..=self.switches {
                let socket = TcpStream::connect(self.controller).await;
                let socket =
                    socket.with_context(|| format!("no controller at {}", self.controller))?;
                socket.set_nodelay(true)?;
                let switch = self.switch(number, counts.clone());
                switches.spawn_local_on(switch.run(socket), &tasks);
            }
            Ok::<(), anyhow::Error>(())
        });
        connected.await?;
        let measured = tasks.run_until(self.measure(&counts));
        tokio::select! {
            told = measured => told,
            Some(ended) = switches.join_next() => match ended? {
                Ok(()) => bail!("a switch ended"),
                Err(error) => Err(error),
            },
        }
    }

    fn switch(&self, number: u16, counts: Rc<Counts>) -> Switch {
        Switch {
            version: self.version,
            number,
            window: self.window,
            counts,
            heard: 0,
            sent: 0,
            next: 0,
            flow: None,
            out: self.version.hello(),
            rest: Vec::new(),
        }
    }

    async fn measure(&self, counts: &Counts) -> Result<Told> {
        let deadline = Instant::now() + READY_WITHIN;
        while counts.ready.get() < self.switches {
            ensure!(
                Instant::now() < deadline,
                "{} of {} switches are ready after {} s",
                counts.ready.get(),
                self.switches,
                READY_WITHIN.as_secs()
            );
            sleep(Duration::from_millis(10)).await;
        }
        sleep(WARM_UP).await;
        let (began, before) = (Instant::now(), counts.setups.get());
        let processor = processor_seconds(self.process)?;
        sleep(self.measured).await;
        Ok(Told {
            setups: counts.setups.get() - before,
            lost: counts.lost.get(),
            seconds: began.elapsed().as_secs_f64(),
            processor_seconds: processor_seconds(self.process)? - processor,
        })
    }
}

/// One switch.
struct Switch {
    version: Version,
    number: u16,
    window: u32,
    counts: Rc<Counts>,
    /// The hosts whose announcements the controller has flooded, as bits.
    heard: u64,
    /// Packets sent.
    sent: u32,
    /// The first packet that was sent and is not answered.
    next: u32,
    /// What the last flow was: a target, and the port to it.
    flow: Option<([u8; 6], u32)>,
    out: Vec<u8>,
    /// What was read and is no whole message yet.
    rest: Vec<u8>,
}

impl Switch {
    async fn run(mut self, mut socket: TcpStream) -> Result<()> {
        let (mut from, mut to) = socket.split();
        let mut bytes = vec![0; READ];
        let mut written = 0;
        loop {
            if written == self.out.len() {
                self.out.clear();
                written = 0;
            }
            self.fill();
            let waiting = self.out.get(written..).unwrap_or_default();
            tokio::select! {
                read = from.read(&mut bytes) => {
                    let read = read?;
                    ensure!(read > 0, "the controller closed the connection");
                    self.take(bytes.get(..read).unwrap_or_default())?;
                }
                sent = to.write(waiting), if !waiting.is_empty() => written += sent?,
                () = sleep(LOST_AFTER), if waiting.is_empty() => self.give_up(),
            }
        }
    }

    /// Sends packets until the window is full.
    fn fill(&mut self) {
        if !self.is_ready() {
            return;
        }
        // A controller answers many at once; whoever asks one by one makes small writes of it.
        let room = self.window - (self.sent - self.next);
        if room < self.window.div_ceil(2) {
            return;
        }
        for _ in 0..room {
            let packet = Packet(self.sent);
            self.version
                .packet_in(&mut self.out, packet.source() + 1, &packet.frame());
            self.sent += 1;
        }
    }

    /// Takes what the controller says.
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let mut stream = std::mem::take(&mut self.rest);
        stream.extend_from_slice(bytes);
        let mut left = stream.as_slice();
        while let Some((message, after)) = split(left) {
            left = after;
            match self.version.read(message, self.number) {
                Said::Asked(answer) => self.out.extend(answer),
                Said::Flow { target, port } => self.flow = Some((target, port)),
                Said::Packet { port, data } => self.packet(port, data),
                Said::Refusal => bail!("the controller refuses something: {message:02x?}"),
                Said::Other => {}
            }
        }
        self.rest = left.to_vec();
        Ok(())
    }

    fn packet(&mut self, port: u32, data: &[u8]) {
        let flow = self.flow.take();
        let Some(packet) = Packet::of(data) else {
            self.hear(data);
            return;
        };
        if packet.0 < self.next || packet.0 >= self.sent {
            return;
        }
        let right = packet.target() + 1;
        let is_complete = flow == Some((mac(packet.target()), right)) && port == right;
        self.lose(packet.0 - self.next + u32::from(!is_complete));
        self.next = packet.0 + 1;
        let setups = &self.counts.setups;
        setups.set(setups.get() + u64::from(is_complete));
    }

    fn lose(&mut self, count: u32) {
        self.counts
            .lost
            .set(self.counts.lost.get() + u64::from(count));
    }

    fn is_ready(&self) -> bool {
        self.heard == u64::MAX
    }

    /// Takes note of an announcement that is flooded: the controller knows the host.
    fn hear(&mut self, data: &[u8]) {
        if self.is_ready() {
            return;
        }
        let host = (0..HOSTS).find(|host| announcement(*host) == data);
        self.heard |= host.map_or(0, |host| 1 << host);
        let ready = &self.counts.ready;
        ready.set(ready.get() + u16::from(self.is_ready()));
    }

    /// Nothing more is heard of what is in flight; or, at the beginning, the controller is ready to learn
    /// where the hosts are.
    fn give_up(&mut self) {
        if !self.is_ready() {
            for host in 0..HOSTS {
                let frame = announcement(host);
                self.version.packet_in(&mut self.out, host + 1, &frame);
            }
        }
        self.lose(self.sent - self.next);
        self.next = self.sent;
    }
}

/// What a process, with all its threads, has used of processors.
fn processor_seconds(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("no {path}"))?;
    // The name of a program may have spaces in it, and ends with the last parenthesis.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let mut fields = after_name.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|ticks| ticks.parse::<f64>().ok());
    let (user, system) = (ticks(), ticks());
    let sum = user.zip(system).map(|(user, system)| user + system);
    Ok(sum.context("no times in it")? / TICKS_PER_SECOND)
}
