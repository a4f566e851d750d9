//! Free services by name: connections of clients who are not let in, carried on byte for byte.
//!
//! A client may look for a free service at an address that the host's resolver has not given, and so find
//! the portal. What it says first names whom it means: in the ClientHello, or as `Host`. If that is free
//! for it, its connection goes on to **the service's own address, as the host knows it**, never to the one
//! that the client chose: who names a free service while he means somebody else reaches the free service.
//! With TLS the client checks who answers, and nobody here looks into it; without TLS the connection is the
//! service's whole, whatever hosts later requests name.
//!
//! The host's switch lets this appliance reach nothing else, counts the bytes for who pays, and ends it
//! with his token; [`Onward::follow`] hears of that within moments, and cuts what is left.
//!
//! *Threats.* Clients are hostile, and so may be a service: connections are bounded, all together and for
//! each client; what waits in them too; who is silent, or does not take what is sent to it, is cut.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::http::Method;
use edgecloud_appliance::metrics::{Counter, Gauge, Registry};
use edgecloud_appliance::{AskError, Drain, Ends, Log, Meant, Metadata, Others, Refusals, Taken};
use tokio::io::AsyncWrite as _;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};

use crate::free::{Known, Service, Services};
use crate::limits::{
    CARRIED_BUFFER_BYTES, CARRIED_BYTES, CARRIED_LOOK_TIME, CARRIED_MAX, CARRIED_PER_CLIENT_MAX,
    CARRIED_SILENT_LOOKS_MAX, CARRIED_STALL_TIME_MAX, FREE_DOUBLINGS_AWAY_MAX,
    FREE_DOUBLINGS_REFUSED_MAX, FREE_PAUSE, FREE_RETRY_TIME_MIN, SERVICE_CONNECT_TIME_MAX,
    SERVICES_COUNTED_MAX,
};
use crate::refusal::Refused;

/// Carries on what is meant for free services.
#[derive(Clone, Debug)]
pub struct Onward(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    known: watch::Sender<Known>,
    places: Arc<Places>,
    /// Which of a service's addresses is tried first.
    turn: AtomicUsize,
    figures: Figures,
    refusals: Refusals,
}

impl Onward {
    /// With nothing that is free yet.
    pub fn new(metrics: &Registry, refusals: Refusals) -> Self {
        let open = "Connections that are carried on to free services.";
        let open = metrics.gauge("edgecloud_auth_carried_open", open, &[]);
        Self(Arc::new(Inner {
            known: watch::Sender::default(),
            places: Arc::new(Places {
                taken: Mutex::default(),
                open,
            }),
            turn: AtomicUsize::new(0),
            figures: Figures {
                metrics: metrics.clone(),
                services: Mutex::default(),
            },
            refusals,
        }))
    }

    /// Hears from the host what is free, until the appliance ends.
    pub async fn follow(self, metadata: Metadata, drain: Drain, log: Log) {
        tokio::select! {
            () = drain.begun() => {}
            () = self.ask(&metadata, &log) => {}
        }
    }

    async fn ask(&self, metadata: &Metadata, log: &Log) {
        let mut failed: u32 = 0;
        loop {
            let known = self.0.known.borrow().services.version.clone();
            let path = match known.is_empty() {
                true => "free-services".to_owned(),
                false => format!("free-services?known={known}"),
            };
            let answer = metadata.ask(Method::GET, &path, Vec::new()).await;
            let services = answer.and_then(|body| {
                let services: Result<Services, _> = serde_json::from_slice(&body);
                services.map_err(|_| AskError::Nonsense("its free services are none"))
            });
            let now = Instant::now();
            let pause = match services {
                Ok(services) => {
                    self.0.known.send_if_modified(|known| {
                        if known.services.version == services.version {
                            known.hear_again(now);
                            return false;
                        }
                        known.hear(services, now);
                        true
                    });
                    failed = 0;
                    FREE_PAUSE
                }
                Err(error) => {
                    log.often(format_args!("what is free is not known: {error}"), &[]);
                    let doublings = match error {
                        AskError::Refused(status, _) if status.is_client_error() => {
                            FREE_DOUBLINGS_REFUSED_MAX
                        }
                        _ => FREE_DOUBLINGS_AWAY_MAX,
                    };
                    let pause = FREE_RETRY_TIME_MIN * (1 << failed.min(doublings));
                    failed = failed.saturating_add(1);
                    pause
                }
            };
            sleep(pause).await;
        }
    }
}

impl Others for Onward {
    fn take(&self, meant: Meant) -> Result<Taken, Box<Meant>> {
        let ends = meant.ends;
        let Some(intended) = ends.intended() else {
            return Err(Box::new(meant));
        };
        let port = intended.port();
        let (service, is_fresh) = {
            let known = self.0.known.borrow();
            let service = known.services.find(&meant.name, port, ends.client());
            (service.cloned(), known.is_fresh(Instant::now()))
        };
        let Some(service) = service else {
            return Err(Box::new(meant));
        };
        let place = match is_fresh {
            true => Places::take(&self.0.places, ends.client()),
            false => Err(Refused::FreeUnknown),
        };
        match place {
            Ok(place) => {
                let onward = self.clone();
                Ok(Box::pin(async move {
                    onward.carry(meant, &service, port).await;
                    drop(place);
                }))
            }
            Err(refused) => {
                self.0.refusals.note(refused, &ends);
                Err(Box::new(meant))
            }
        }
    }
}

impl Onward {
    /// Carries a connection to its end.
    async fn carry(&self, meant: Meant, service: &Service, port: u16) {
        let ends = meant.ends;
        // One that is gone already shows at the next read.
        let _ = meant.bound_buffers(CARRIED_BUFFER_BYTES as usize);
        let (mut client, read) = meant.into_parts();
        let mut paid = self.0.known.subscribe();
        let Some(mut server) = self.connect(service, port, &ends).await else {
            self.0.refusals.note(Refused::FreeUnreachable, &ends);
            reset(&client);
            return;
        };
        let figures = self.0.figures.of(&service.service);
        figures.connections.add(1);
        let ended = tokio::select! {
            ended = splice((&mut client, read), &mut server, &figures) => ended,
            // Its sender is our own.
            _ = paid.wait_for(|known| !known.services.has_payer(&service.payer)) => {
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        };
        // Neither side is to take what it has for the whole.
        if ended.is_err() {
            reset(&client);
            reset(&server);
        }
    }

    async fn connect(&self, service: &Service, port: u16, ends: &Ends) -> Option<TcpStream> {
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        for target in service.targets(port, ends.client(), turn) {
            let connected = timeout(SERVICE_CONNECT_TIME_MAX, connect(target)).await;
            if let Ok(Ok(stream)) = connected {
                // A peer that is gone already shows at the next read.
                let _ = stream.set_nodelay(true);
                return Some(stream);
            }
        }
        None
    }
}

/// A connection whose buffers are bounded.
async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let socket = match target {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_send_buffer_size(CARRIED_BUFFER_BYTES)?;
    socket.set_recv_buffer_size(CARRIED_BUFFER_BYTES)?;
    socket.connect(target).await
}

/// Has a connection reset when it is closed, which it is soon.
fn reset(stream: &TcpStream) {
    // One that cannot be is closed all the same.
    let _ = stream.set_zero_linger();
}

/// What happens on a connection that is carried, both ways.
#[derive(Debug, Default)]
struct Activity {
    /// How often bytes moved.
    moved: AtomicU64,
    /// A side has ended.
    has_half_ended: AtomicBool,
}

/// Moves bytes both ways until both sides have ended, or one is gone, silent, or takes nothing. What was
/// read of the client goes first.
async fn splice(
    (client, read): (&mut TcpStream, Vec<u8>),
    server: &mut TcpStream,
    figures: &ServiceFigures,
) -> io::Result<()> {
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let activity = Activity::default();
    let both = async {
        let sent = pump(from_client, to_server, read, (&figures.sent, &activity));
        let received = pump(
            from_server,
            to_client,
            Vec::new(),
            (&figures.received, &activity),
        );
        tokio::try_join!(sent, received).map(|_| ())
    };
    tokio::select! {
        ended = both => ended,
        () = silence(&activity) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Waits until nothing moved for a while.
async fn silence(activity: &Activity) {
    let mut look = interval(CARRIED_LOOK_TIME);
    look.reset(); // The first look is not now.
    let (mut seen, mut silent) = (0, 0);
    loop {
        look.tick().await;
        let now = activity.moved.load(Ordering::Relaxed);
        silent = if now == seen { silent + 1 } else { 0 };
        seen = now;
        let half = activity.has_half_ended.load(Ordering::Relaxed);
        if silent >= if half { 1 } else { CARRIED_SILENT_LOOKS_MAX } {
            return;
        }
    }
}

/// Moves bytes one way, and tells the end of them.
async fn pump(
    from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    first: Vec<u8>,
    counted: (&Counter, &Activity),
) -> io::Result<()> {
    write(&to, &first, counted).await?;
    drop(first);
    loop {
        from.readable().await?;
        // Only what waits takes memory.
        let mut bytes = vec![0; CARRIED_BYTES];
        match from.try_read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => write(&to, &bytes[..count], counted).await?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    counted.1.has_half_ended.store(true, Ordering::Relaxed);
    poll_fn(|context| Pin::new(&mut to).poll_shutdown(context)).await
}

async fn write(
    to: &WriteHalf<'_>,
    mut bytes: &[u8],
    (counter, activity): (&Counter, &Activity),
) -> io::Result<()> {
    while !bytes.is_empty() {
        let writable = timeout(CARRIED_STALL_TIME_MAX, to.writable()).await;
        writable.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        match to.try_write(bytes) {
            Ok(count) => {
                bytes = &bytes[count..];
                counter.add(u64::try_from(count).unwrap_or(u64::MAX));
                activity.moved.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How many connections are carried, for whom.
#[derive(Debug)]
struct Places {
    taken: Mutex<HashMap<IpAddr, usize>>,
    open: Gauge,
}

/// One of them, until it is dropped.
struct Place {
    places: Arc<Places>,
    client: IpAddr,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(places: &Arc<Places>, client: IpAddr) -> Result<Place, Refused> {
        let mut taken = places.lock();
        let own = taken.get(&client).copied().unwrap_or_default();
        if own >= CARRIED_PER_CLIENT_MAX {
            return Err(Refused::FreeTooMany);
        }
        if taken.values().sum::<usize>() >= CARRIED_MAX {
            return Err(Refused::FreeFull);
        }
        taken.insert(client, own + 1);
        places.open.add(1);
        let places = Arc::clone(places);
        Ok(Place { places, client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(own) = taken.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.client);
            }
        }
        self.places.open.add(-1);
    }
}

/// What is counted, by the services of manifests.
#[derive(Debug)]
struct Figures {
    metrics: Registry,
    services: Mutex<HashMap<String, ServiceFigures>>,
}

#[derive(Clone, Debug)]
struct ServiceFigures {
    connections: Counter,
    sent: Counter,
    received: Counter,
}

impl Figures {
    /// Those of a service; of many, those that came late share theirs, for a figure never goes away.
    fn of(&self, service: &str) -> ServiceFigures {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = services.get(service) {
            return known.clone();
        }
        let name = match services.len() < SERVICES_COUNTED_MAX {
            true => service,
            false => "others",
        };
        let connections = "Connections that were carried on to free services.";
        let bytes = "What they carried, as clients see it.";
        let bytes = |direction| {
            let labels = [("service", name), ("direction", direction)];
            self.metrics
                .counter("edgecloud_auth_carried_bytes_total", bytes, &labels)
        };
        let made = ServiceFigures {
            connections: self.metrics.counter(
                "edgecloud_auth_carried_total",
                connections,
                &[("service", name)],
            ),
            sent: bytes("sent"),
            received: bytes("received"),
        };
        if services.len() < SERVICES_COUNTED_MAX {
            services.insert(service.to_owned(), made.clone());
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn client(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn places_are_bounded_for_each_client_and_all() {
        let open = Registry::default().gauge("open", "Open.", &[]);
        let places = Arc::new(Places {
            taken: Mutex::default(),
            open: open.clone(),
        });
        let take = |last| Places::take(&places, client(last));
        let own: Vec<_> = (0..CARRIED_PER_CLIENT_MAX).map(|_| take(1)).collect();
        assert!(own.iter().all(Result::is_ok));
        assert_eq!(take(1).err(), Some(Refused::FreeTooMany));
        let mut others = Vec::new();
        let full = (2..).find_map(|last| {
            let place = take(last);
            let refused = place.as_ref().err().copied();
            others.extend(place);
            refused
        });
        assert_eq!(full, Some(Refused::FreeFull));
        assert_eq!(own.len() + others.len(), CARRIED_MAX);
        drop((own, others));
        assert_eq!(open.get(), 0);
        assert!(places.lock().is_empty(), "nobody is remembered");
    }

    /// How long a connection lasts on which nothing moves, by tokio's clock, which runs when all wait.
    async fn lasts(client_ends: bool) -> Duration {
        use tokio::net::TcpListener;

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut pairs = Vec::new();
        for _ in 0..2 {
            let outer = TcpStream::connect(address).await.expect("it listens");
            let (inner, _) = listener.accept().await.expect("a connection");
            pairs.push((outer, inner));
        }
        let (_service, mut server) = pairs.pop().expect("two");
        let (mut outer, mut client) = pairs.pop().expect("two");
        if client_ends {
            let ended = poll_fn(|context| Pin::new(&mut outer).poll_shutdown(context));
            ended.await.expect("it is open");
            // So that the clock does not run before that has come.
            client.readable().await.expect("it is open");
        }
        let figures = Figures {
            metrics: Registry::default(),
            services: Mutex::default(),
        };
        tokio::time::pause();
        let begun = tokio::time::Instant::now();
        let ended = splice((&mut client, Vec::new()), &mut server, &figures.of("a")).await;
        let error = ended.expect_err("it is cut");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        begun.elapsed()
    }

    #[tokio::test]
    async fn who_is_silent_is_cut() {
        let silent = CARRIED_LOOK_TIME * CARRIED_SILENT_LOOKS_MAX;
        assert_eq!(lasts(false).await.as_secs(), silent.as_secs());
    }

    #[tokio::test]
    async fn half_a_connection_is_not_waited_for_as_long() {
        assert_eq!(lasts(true).await.as_secs(), CARRIED_LOOK_TIME.as_secs());
    }

    #[test]
    fn figures_of_services_are_bounded() {
        let metrics = Registry::default();
        let figures = Figures {
            metrics: metrics.clone(),
            services: Mutex::default(),
        };
        for number in 0..SERVICES_COUNTED_MAX + 9 {
            figures.of(&format!("{number}.example")).connections.add(1);
        }
        let text = metrics.text();
        let all = text.matches("edgecloud_auth_carried_total{").count();
        assert_eq!(all, SERVICES_COUNTED_MAX + 1);
        assert!(text.contains("edgecloud_auth_carried_total{service=\"others\"} 9\n"));
    }
}
