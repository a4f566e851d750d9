//! The agent and the host's side of the protocol with each other, over a socket pair in the place
//! of a virtio serial port.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use testbed::protocol::{Message, VERSION, WINDOW, cobs};
use testbed::{Connection, Event, Running, Status, Stream};

use crate::port::serve_one;

/// Far more than anything here takes; without it a failure would be a test that does not end.
const LIMIT: Duration = Duration::from_secs(60);

/// A port with an agent behind it.
fn port() -> UnixStream {
    let (host, dom0) = UnixStream::pair().unwrap();
    // It ends, with an error, when the host's side is closed.
    thread::spawn(move || serve_one(File::from(OwnedFd::from(dom0))));
    host
}

fn connect(port: UnixStream) -> Connection {
    Connection::open(port, Instant::now() + LIMIT).unwrap()
}

fn start(connection: &Connection, command: &str) -> Running {
    connection.start(command, Vec::new(), Some(LIMIT)).unwrap()
}

/// Everything a command does from now on: its standard output, its standard error, its end.
fn rest(running: &mut Running) -> (Vec<u8>, Vec<u8>, Status) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        match running.next(Some(Instant::now() + LIMIT)).unwrap() {
            Some(Event::Output(Stream::Stdout, bytes)) => out.extend(bytes),
            Some(Event::Output(Stream::Stderr, bytes)) => err.extend(bytes),
            Some(Event::End(status)) => return (out, err, status),
            None => panic!("the command does not end; it wrote {out:?} and {err:?}"),
        }
    }
}

fn check(command: &str, out: &str, err: &str, status: Status) {
    let connection = connect(port());
    let mut running = start(&connection, command);
    running.stdin().end();
    let found = rest(&mut running);
    assert_eq!(found, (out.into(), err.into(), status), "{command}");
}

/// The process id that a command writes first.
fn first_pid(running: &mut Running) -> Pid {
    let Some(Event::Output(Stream::Stdout, bytes)) = running.next(None).unwrap() else {
        panic!("the command wrote no process id")
    };
    Pid::from_raw(String::from_utf8(bytes).unwrap().trim().parse().unwrap()).unwrap()
}

fn ends(process: &OwnedFd) -> bool {
    let limit = Timespec {
        tv_sec: LIMIT.as_secs() as i64,
        tv_nsec: 0,
    };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&limit)) == Ok(1)
}

#[test]
fn how_commands_end() {
    check(
        "echo out; echo err >&2",
        "out\n",
        "err\n",
        Status::Exited(0),
    );
    check("exit 3", "", "", Status::Exited(3));
    check("kill -9 $$", "", "", Status::Signalled(9));
    check("cat", "", "", Status::Exited(0));
    check("no-such-command 2>/dev/null", "", "", Status::Exited(127));
}

#[test]
fn a_time_limit_ends_the_whole_process_group() {
    let connection = connect(port());
    let limit = Some(Duration::from_millis(100));
    let command = "sleep 1000 & echo $!; wait";
    let mut running = connection.start(command, Vec::new(), limit).unwrap();
    let child = pidfd_open(first_pid(&mut running), PidfdFlags::empty()).unwrap();
    assert_eq!(rest(&mut running), (vec![], vec![], Status::TimedOut));
    assert!(ends(&child));
}

/// More than a window in both directions at once.
#[test]
fn a_large_input_comes_back_through_cat() {
    let connection = connect(port());
    let sent: Vec<u8> = (0..5 * WINDOW).map(|i| ((i * i) >> 7) as u8).collect();
    let mut running = start(&connection, "cat");
    let mut stdin = running.stdin();
    let received = thread::scope(|scope| {
        scope.spawn(|| {
            stdin.write_all(&sent).unwrap();
            stdin.end();
        });
        rest(&mut running)
    });
    assert!(
        received.0 == sent,
        "received {} bytes of {}",
        received.0.len(),
        sent.len()
    );
    assert_eq!(received.2, Status::Exited(0));
}

#[test]
fn a_command_that_does_not_read_holds_up_nobody() {
    let connection = connect(port());
    let deaf = start(&connection, "sleep 1000");
    let mut stdin = deaf.stdin();
    thread::scope(|scope| {
        let writer = scope.spawn(move || stdin.write_all(&vec![1; 2 * WINDOW as usize]));
        let (out, ..) = rest(&mut start(&connection, "echo heard"));
        assert_eq!(out, b"heard\n");
        drop(deaf);
        assert!(
            writer.join().unwrap().is_err(),
            "the command is gone, and with it its input"
        );
    });
}

#[test]
fn a_command_whose_output_is_not_read_holds_up_nobody() {
    let connection = connect(port());
    let _unread = start(&connection, "cat /dev/zero");
    let (out, ..) = rest(&mut start(&connection, "echo heard"));
    assert_eq!(out, b"heard\n");
}

#[test]
fn many_commands_at_once() {
    let connection = connect(port());
    thread::scope(|scope| {
        for number in 0..20 {
            let connection = &connection;
            scope.spawn(move || {
                let mut running = start(connection, &format!("seq {number} 2000"));
                let lines = rest(&mut running)
                    .0
                    .iter()
                    .filter(|&&byte| byte == b'\n')
                    .count();
                assert_eq!(lines, 2001 - number);
            });
        }
    });
}

#[test]
fn what_stays_in_the_background_is_not_waited_for() {
    let connection = connect(port());
    let mut running = start(&connection, "sleep 1000 & echo $!");
    let left = first_pid(&mut running);
    assert_eq!(rest(&mut running).2, Status::Exited(0));
    kill_process(left, Signal::KILL).unwrap();
}

#[test]
fn commands_end_with_their_connection() {
    let connection = connect(port());
    let mut running = start(&connection, "echo $$; exec sleep 1000");
    let process = pidfd_open(first_pid(&mut running), PidfdFlags::empty()).unwrap();
    drop(connection);
    let limit = Timespec {
        tv_sec: LIMIT.as_secs() as i64,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(&process, PollFlags::IN)];
    assert_eq!(poll(&mut fds, Some(&limit)), Ok(1), "the command lives on");
    assert!(running.next(None).is_err());
}

/// A host process died in the middle of a frame, and its unread answers are still in the port.
#[test]
fn a_connection_after_a_broken_one() {
    let mut port = port();
    let mut frames = vec![cobs::DELIMITER];
    cobs::encode(
        &Message::Hello {
            nonce: 1,
            version: VERSION,
        }
        .emit(),
        &mut frames,
    );
    let command = "echo stale".to_owned();
    let start_stale = Message::Start {
        channel: 1,
        limit_ms: 0,
        environment: vec![],
        command,
    };
    cobs::encode(&start_stale.emit(), &mut frames);
    let half = frames.len() + 20;
    cobs::encode(&start_stale.emit(), &mut frames);
    port.write_all(&frames[..half]).unwrap();
    let connection = connect(port);
    let (out, ..) = rest(&mut start(&connection, "echo fresh"));
    assert_eq!(out, b"fresh\n");
}
