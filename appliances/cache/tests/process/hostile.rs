//! Clients that want others to get something wrong, origins that lie, and both when they are many and slow.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::world::{FRESH, LIMIT, World, all, head};

#[test]
fn a_client_cannot_choose_what_others_get() {
    let world = World::start();
    let pretends = "X-Forwarded-Host: evil.example\r\nX-Original-URL: /evil\r\n";
    let client = world.ask("/", pretends);
    let sent = world.answer(FRESH);
    assert!(sent.contains("host: a.example"), "{sent}");
    assert!(!sent.contains("evil"), "{sent}");
    all(client);
    for bad in [
        "GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n",
        "GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a.example\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: +1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nA: b\r\n folded: c\r\n\r\n",
    ] {
        let answer = head(&mut world.send(bad));
        assert!(answer.starts_with("http/1.1 400"), "{bad:?}: {answer}");
    }
    assert!(world.origin_rests());
}

/// Fields by which a client could have the origin answer something that others would get for theirs: the key does
/// not have them, so the origin must not either.
#[test]
fn what_is_in_no_key_reaches_no_origin() {
    let world = World::start();
    let fields = [
        "Forwarded: host=evil",
        "X-Forwarded-Host: evil",
        "X_Forwarded_Host: evil",
        "X-Forwarded-Scheme: evil",
        "X-Forwarded-Server: evil",
        "X-Host: evil",
        "X-Original-URL: /evil",
        "X-Rewrite-URL: /evil",
        "X-HTTP-Method-Override: EVIL",
        "Connection: X-Important",
        "X-Important: evil",
        "Content-Length: 4",
    ];
    let client = world.ask("/", &format!("{}\r\n\r\nevil", fields.join("\r\n")));
    let sent = world.answer(FRESH);
    assert!(
        !sent.contains("evil") && !sent.contains("content-length"),
        "{sent}"
    );
    all(client);
    assert!(all(world.ask("/", "")).contains("edgecloud; hit"));
}

/// Two writings of a path are two addresses: whether they mean the same is the origin's business.
#[test]
fn a_path_is_asked_for_and_stored_as_it_was_written() {
    let world = World::start();
    let paths = [
        "/a/b",
        "/a%2fb",
        "/a%2Fb",
        "/a//b",
        "/a/./b",
        "/c/../a/b",
        "/a/b?",
        "/a/b?x",
        "/a/%62",
    ];
    for path in paths {
        let client = world.ask(path, "");
        let sent = world.answer(&FRESH.replace("0123456789", &format!("{path:>10}")));
        assert!(
            sent.starts_with(&format!("get {} http/1.1", path.to_ascii_lowercase())),
            "{sent}"
        );
        assert!(all(client).contains("fwd=uri-miss"), "{path}");
    }
    for path in paths {
        let hit = all(world.ask(path, ""));
        assert!(
            hit.contains("edgecloud; hit") && hit.ends_with(&format!("{path:>10}")),
            "{hit}"
        );
    }
    // What is behind a number sign is not for servers, and an absolute form means the same.
    let absolute = world
        .send("GET http://a.example/a/b HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    assert!(all(absolute).contains("edgecloud; hit"));
    for bad in ["a/b", "http:///a/b", "http://u@a.example/a/b"] {
        let request = format!("GET {bad} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        let mut client = world.send(&request);
        let answer = head(&mut client);
        assert!(answer.starts_with("http/1.1 400"), "{bad}: {answer}");
    }
    assert!(world.origin_rests());
}

#[test]
fn heads_that_are_too_large_are_refused_on_both_sides() {
    let world = World::start();
    let long = "a".repeat(20_000);
    let many = (0..100)
        .map(|n| format!("X-{n}: a\r\n"))
        .collect::<String>();
    for fields in [format!("X-Long: {long}\r\n"), many] {
        let mut client = world.send(&format!(
            "GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"
        ));
        assert!(head(&mut client).starts_with("http/1.1 431"));
    }
    let mut client = world.ask(&format!("/{}", "a".repeat(9000)), "");
    assert!(head(&mut client).starts_with("http/1.1 400"));
    assert!(world.origin_rests());
    let client = world.ask("/", "");
    let longer = "a".repeat(200_000);
    let (mut origin, _) = world.asked();
    // It may hang up before it has read all of that.
    let _ = origin.write_all(
        FRESH
            .replace("ETag", &format!("X-Long: {longer}\r\nETag"))
            .as_bytes(),
    );
    assert!(all(client).starts_with("HTTP/1.1 502"));
}

/// What `Vary` tells apart is bounded for each address, and no client gets another's.
#[test]
fn a_vary_explosion_fills_one_address_and_no_more() {
    let world = World::start();
    let varied = |number: usize| {
        FRESH
            .replace("ETag", "Vary: X-A\r\nETag")
            .replace("0123456789", &format!("{number:>10}"))
    };
    let calm = world.ask("/calm", "");
    world.answer(FRESH);
    all(calm);
    for number in 0..40 {
        let client = world.ask("/", &format!("X-A: {number}\r\n"));
        world.answer(&varied(number));
        assert!(all(client).ends_with(&format!("{number:>10}")));
    }
    for number in 24..40 {
        let hit = all(world.ask("/", &format!("X-A: {number}\r\n")));
        assert!(
            hit.contains("edgecloud; hit") && hit.ends_with(&format!("{number:>10}")),
            "{hit}"
        );
    }
    let client = world.ask("/", "X-A: 0\r\n");
    world.answer(&varied(0));
    assert!(all(client).contains("fwd=uri-miss"), "the oldest gave way");
    assert!(all(world.ask("/calm", "")).contains("edgecloud; hit"));
    let many: String = (0..17).map(|n| format!("Vary: X-{n}\r\n")).collect();
    for vary in ["Vary: *\r\n", "Vary: a b\r\n", &many] {
        let client = world.ask("/never", "");
        world.answer(&FRESH.replace("ETag", &format!("{vary}ETag")));
        assert!(all(client).contains("detail=vary-star"), "{vary}");
    }
}

#[test]
fn what_broke_off_is_never_served_again() {
    let world = World::start();
    let mut client = world.ask("/torn", "");
    world.answer(&FRESH[..FRESH.len() - 3]);
    head(&mut client);
    let mut torn = Vec::new();
    // The client is told by an early end, or by a reset.
    let _ = client.read_to_end(&mut torn);
    assert!(torn.len() < 10);
    let again = world.ask("/torn", "");
    world.answer(FRESH);
    assert!(all(again).ends_with("\r\n\r\n0123456789"));
}

/// Whatever an origin says of length or range, what is stored is what came.
#[test]
fn an_origin_that_lies_about_length_or_range_is_not_believed() {
    let world = World::start();
    let check = |path: &str, fields: &str, answer: &str, how: &str| {
        let client = world.ask(path, fields);
        world.answer(answer);
        let answer = head(&mut { client });
        assert!(answer.contains(how), "{path}: {answer}");
    };
    let two = FRESH.replace(
        "Content-Length: 10",
        "Content-Length: 10\r\nContent-Length: 11",
    );
    check("/two-lengths", "", &two, "502");
    // A coding comes before a length, for all alike.
    for length in ["5", "11"] {
        let both = format!("Content-Length: {length}\r\nTransfer-Encoding: x");
        let path = format!("/both/{length}");
        let client = world.ask(&path, "");
        world.answer(&FRESH.replace("Content-Length: 10", &both));
        let answer = all(client);
        assert!(answer.contains("\r\n0123456789\r\n"), "{answer}");
        let hit = all(world.ask(&path, ""));
        assert!(hit.ends_with("\r\n\r\n0123456789"), "{hit}");
    }
    check(
        "/no-number",
        "",
        &FRESH.replace("Content-Length: 10", "Content-Length: +10"),
        "502",
    );
    let part = |range: &str| {
        let status = format!("206 Partial Content\r\nContent-Range: {range}");
        FRESH.replace("200 OK", &status)
    };
    let wanted = "Range: bytes=0-9\r\n";
    for range in [
        "bytes 9-0/10",
        "bytes 0-9/5",
        "bytes */10",
        "rows 0-9/10",
        "bytes 0-8/20",
    ] {
        check("/range", wanted, &part(range), "detail=bad-range");
    }
    check(
        "/range",
        wanted,
        &part("bytes 0-9/20"),
        "fwd=uri-miss; stored",
    );
    // Of a range that ended early the bytes that came are served, and no more.
    check(
        "/early",
        "Range: bytes=5-20\r\n",
        &part("bytes 5-20/21"),
        "stored",
    );
    let hit = all(world.ask("/early", "Range: bytes=5-14\r\n"));
    assert!(
        hit.contains("bytes 5-14/21") && hit.ends_with("\r\n\r\n0123456789"),
        "{hit}"
    );
    let more = world.ask("/early", "Range: bytes=5-15\r\n");
    assert!(
        world
            .answer(&part("bytes 5-14/21"))
            .contains("range: bytes=5-15")
    );
    all(more);
    let longer = FRESH.replace("0123456789", "0123456789HTTP/1.1 200 OK");
    check("/longer", "", &longer, "stored");
    let hit = all(world.ask("/longer", ""));
    assert!(hit.ends_with("\r\n\r\n0123456789"), "{hit}");
}

#[test]
fn content_with_another_digest_is_cut_off_and_not_stored() {
    let world = World::start();
    // Of the ten digits.
    const RIGHT: &str = "sha-256=:hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII=:";
    for field in ["Content-Digest", "Repr-Digest"] {
        let path = format!("/{field}");
        let with = |digest: &str| FRESH.replace("ETag", &format!("{field}: {digest}\r\nETag"));
        for _ in 0..2 {
            let mut client = world.ask(&path, "");
            world.answer(&with(&RIGHT.replacen(":hN", ":AA", 1)));
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer); // An end or a reset.
            assert!(!answer.ends_with(b"0123456789"), "it looks whole");
        }
        let client = world.ask(&path, "");
        world.answer(&with(RIGHT));
        assert!(all(client).ends_with("0123456789"));
        assert!(all(world.ask(&path, "")).contains("edgecloud; hit"));
    }
    let figures = world.order("/metrics", "");
    let line = "edgecloud_cache_broken_bodies_total{publisher=\"rest\",reason=\"digest\"} 4";
    assert!(figures.contains(line), "{figures}");
}

const THOUSAND: usize = 1000;

/// A thousand clients that dribble, and a thousand that wait for an origin which never answers: who asks for what is
/// stored is served as ever, and each that cannot wait is told why.
#[test]
fn slow_clients_and_slow_origins_by_the_thousand_keep_nobody_waiting() {
    let origin = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = origin.local_addr().expect("an address");
    let service = format!(
        "origin = '{address}'\n[[service.publishers]]\nname = 'slow'\nsites = ['slow.example']\nmemory-mib = 4"
    );
    let appliance = "http = '127.0.0.1:0'\nhttps = 'off'\nconnections-max = 2500";
    let world = World::run(origin, appliance, &service);
    let stored = world.ask("/stored", "");
    world.answer(FRESH);
    all(stored);
    let dribbling: Vec<_> = (0..THOUSAND)
        .map(|number| world.send(&format!("GET /{number} HTTP/1.1\r\nHost: a.exam")))
        .collect();
    let listener = world.origin.try_clone().expect("a clone");
    // An origin that takes what it is asked and says nothing, until the test is done with it.
    listener.set_nonblocking(true).expect("a mode");
    let mut silent = Vec::new();
    let mut waiting = Vec::new();
    for number in 0..2 * THOUSAND {
        let path =
            format!("GET /{number} HTTP/1.1\r\nHost: slow.example\r\nConnection: close\r\n\r\n");
        waiting.push(world.send(&path));
        while let Ok((connection, _)) = listener.accept() {
            silent.push(connection);
        }
        if number % 100 == 0 {
            assert!(
                all(world.ask("/stored", "")).contains("edgecloud; hit"),
                "{number}"
            );
        }
    }
    let told = waiting.split_off(waiting.len() - 100);
    for client in told {
        assert!(
            all(client).starts_with("HTTP/1.1 503"),
            "more than half wait for one publisher"
        );
    }
    assert!(all(world.ask("/stored", "")).contains("edgecloud; hit"));
    let figures = world.order("/metrics", "");
    let refused = figures
        .lines()
        .find(|line| line.contains("refusals_total{reason=\"busy\"}"));
    assert!(
        refused.is_some_and(|line| !line.ends_with(" 0")),
        "{figures}"
    );
    drop((dribbling, silent));
}

/// Clients that do not read what they asked for hold no more memory than is theirs: what they would hold beyond that
/// is not stored.
#[test]
fn slow_readers_hold_a_bounded_memory() {
    let world = World::start_with("memory-mib = 32\nobject-mib = 8");
    // Much more than systems take for those who do not read.
    let body = "0123456789abcdef".repeat(450_000);
    let large = FRESH
        .replace("Length: 10", &format!("Length: {}", body.len()))
        .replace("0123456789", &body);
    let mut readers = Vec::new();
    for number in 0..READERS {
        let mut client = sipping(&world.http);
        let request = format!("GET /{number} HTTP/1.1\r\nHost: a.example\r\n\r\n");
        client.write_all(request.as_bytes()).expect("it is sent");
        let (mut origin, _) = world.asked();
        let large = large.clone();
        // Its pace is that of the reader, who may never come.
        std::thread::spawn(move || origin.write_all(large.as_bytes()));
        head(&mut client);
        readers.push(client);
        assert!(live_bytes(&world) <= LIVE_BYTES_MAX, "after {number}");
    }
    let until = std::time::Instant::now() + LIMIT;
    while live_bytes(&world) < 32 << 20 {
        assert!(
            std::time::Instant::now() < until,
            "the readers hold nothing"
        );
    }
    for _ in 0..20 {
        assert!(live_bytes(&world) <= LIVE_BYTES_MAX);
    }
    drop(readers);
    let client = world.ask("/after", "");
    world.answer(FRESH);
    assert!(all(client).ends_with("0123456789"));
}

const READERS: u64 = 20;
/// Five quarters of the memory, and what each body may be ahead of its reader.
const LIVE_BYTES_MAX: u64 = (40 << 20) + READERS * 2 * (64 << 10);

/// Bytes of bodies that the cache has in memory.
fn live_bytes(world: &World) -> u64 {
    let figures = world.order("/metrics", "");
    let mut lines = figures.lines();
    let line =
        lines.find_map(|line| line.strip_prefix("edgecloud_cache_live_bytes{publisher=\"rest\"} "));
    line.and_then(|bytes| bytes.parse().ok()).expect("a figure")
}

/// A client whose system takes little ahead of it.
fn sipping(address: &str) -> std::net::TcpStream {
    let address: std::net::SocketAddr = address.parse().expect("an address");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a size");
    socket.connect(&address.into()).expect("a connection");
    socket.into()
}

#[test]
fn what_outgrows_the_cache_is_passed_on_whole_and_not_kept() {
    let world = World::start_with("memory-mib = 4\nobject-mib = 1");
    let piece = "0123456789abcdef".repeat(4096);
    for _ in 0..2 {
        let mut client = world.ask("/film", "");
        let (mut origin, _) = world.asked();
        let piece = piece.clone();
        let sender = std::thread::spawn(move || {
            let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nConnection: close\r\n\r\n";
            origin.write_all(head.as_bytes()).expect("a head");
            (0..80).for_each(|_| origin.write_all(piece.as_bytes()).expect("a piece"));
        });
        assert!(head(&mut client).contains("fwd=uri-miss"));
        let body = all(client);
        // In chunks, as its length is not known.
        let bytes = body.len();
        assert!((80 * 65536..81 * 65536).contains(&bytes), "{bytes} bytes");
        assert!(body.ends_with("0\r\n\r\n"), "it ends before its end");
        sender.join().expect("all was taken");
    }
}
