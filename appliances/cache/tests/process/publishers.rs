//! A cache that publishers share: each its own part, and its own purges.

use std::io::{Read, Write};
use std::net::TcpListener;

use sha2::{Digest, Sha256};

use super::tls::{secure, secure_for};
use super::world::{FRESH, World, accepted, all};

const TOKEN: &str = "tv-token-that-nobody-guesses";

/// A cache of two publishers, and the origin of the second.
fn world(settings: &str) -> (World, TcpListener) {
    let bind = || TcpListener::bind("127.0.0.1:0").expect("a port");
    let (tv, photos) = (bind(), bind());
    let address = |origin: &TcpListener| origin.local_addr().expect("an address");
    let digest: String = Sha256::digest(TOKEN)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let service = format!(
        "memory-mib = 12\n{settings}\n[[service.publishers]]\nname = 'tv'\nsites = ['tv.example', '*.tv.example']\n\
         origin = '{}'\nmemory-mib = 8\ndisk-mib = 2\npurge-token-sha256 = '{digest}'\n\
         [[service.publishers]]\nname = 'photos'\nsites = ['photos.example']\norigin = '{}'\nmemory-mib = 4\n\
         disk-mib = 2",
        address(&tv),
        address(&photos)
    );
    let world = World::run(tv, "http = '127.0.0.1:0'\nhttps = '127.0.0.1:0'", &service);
    (world, photos)
}

fn ask(world: &World, host: &str, path: &str) -> std::net::TcpStream {
    world.send(&format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    ))
}

fn answer(origin: &TcpListener, answer: &str) {
    let mut connection = accepted(origin);
    super::world::head(&mut connection);
    connection.write_all(answer.as_bytes()).expect("it is sent");
}

fn purge(world: &World, host: &str, token: &str, orders: &str) -> String {
    let mut client = secure(&world.https);
    let length = orders.len();
    let request = format!(
        "POST /.well-known/edgecloud/purge HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
         Connection: close\r\nContent-Length: {length}\r\n\r\n{orders}"
    );
    client.write_all(request.as_bytes()).expect("it is sent");
    let mut said = String::new();
    client.read_to_string(&mut said).expect("an answer");
    said
}

/// Has both publishers' `/a` stored.
fn fill(world: &World, photos: &TcpListener) {
    let client = ask(world, "tv.example", "/a");
    world.answer(&FRESH.replace("ETag", "Cache-Tag: news\r\nETag"));
    all(client);
    let client = ask(world, "photos.example", "/a");
    answer(photos, &FRESH.replace("ETag", "Cache-Tag: news\r\nETag"));
    all(client);
}

/// A name's certificate: what is served, and the publisher's line of settings.
fn identity(name: &str) -> (Vec<u8>, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let (pem, key) = (certificate.pem(), key.serialize_pem());
    let line = format!("tls = {{ certificate = '''{pem}''', key = '''{key}''' }}");
    (certificate.der().to_vec(), line)
}

#[test]
fn clients_are_served_the_certificate_of_whose_site_they_ask_for() {
    let origin = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = format!("origin = '{}'", origin.local_addr().expect("an address"));
    let (tv, its) = identity("tv.example");
    let publishers = format!(
        "[[service.publishers]]\nname = 'tv'\nsites = ['tv.example', '*.tv.example']\n{to}\nmemory-mib = 4\n\
         {its}\n[[service.publishers]]\nname = 'photos'\nsites = ['photos.example']\n{to}\nmemory-mib = 4"
    );
    let addresses = "http = '127.0.0.1:0'\nhttps = '127.0.0.1:0'";
    let world = World::run(origin, addresses, &publishers);
    let served = |name| {
        let mut client = secure_for(&world.https, name);
        while client.conn.is_handshaking() {
            client
                .conn
                .complete_io(&mut client.sock)
                .expect("hands are shaken");
        }
        client.conn.peer_certificates().expect("one")[0].to_vec()
    };
    assert_eq!(served("tv.example"), tv);
    assert_eq!(served("www.TV.example"), tv);
    let own = served("photos.example");
    assert_ne!(own, tv);
    assert_eq!(served("eviltv.example"), own);
}

#[test]
fn each_has_its_own_origin_and_strangers_have_none() {
    let (world, photos) = world("");
    fill(&world, &photos);
    for host in ["tv.example", "photos.example"] {
        assert!(
            all(ask(&world, host, "/a")).contains("edgecloud; hit"),
            "{host}"
        );
    }
    let client = ask(&world, "www.tv.example", "/a");
    world.answer(FRESH);
    assert!(all(client).contains("fwd=uri-miss"));
    for stranger in ["other.example", "eviltv.example", "photos.example.evil"] {
        let said = all(ask(&world, stranger, "/a"));
        assert!(said.starts_with("HTTP/1.1 421"), "{stranger}: {said}");
    }
    let figures = world.order("/metrics", "");
    for line in [
        "edgecloud_cache_requests_total{publisher=\"tv\",outcome=\"hit\"} 1",
        "edgecloud_cache_requests_total{publisher=\"tv\",outcome=\"missed\"} 2",
        "edgecloud_cache_saved_bytes_total{publisher=\"photos\"} 10",
        "edgecloud_cache_served_bytes_total{publisher=\"photos\"} 20",
        "edgecloud_cache_fetched_bytes_total{publisher=\"tv\"} 20",
    ] {
        assert!(figures.contains(line), "{line}: {figures}");
    }
    let page = world.order("/", "");
    assert!(page.contains("<tr><td>photos<td>2<td>50.0 %"), "{page}");
}

/// However much one has the cache store, the other's responses stay.
#[test]
fn nobody_displaces_what_is_anothers() {
    let (world, photos) = world("");
    fill(&world, &photos);
    let body = "x".repeat(900_000);
    let large = FRESH
        .replace("Length: 10", "Length: 900000")
        .replace("0123456789", &body);
    for number in 0..12 {
        let client = ask(&world, "photos.example", &format!("/{number}"));
        answer(&photos, &large);
        assert!(all(client).ends_with(&body), "{number}");
    }
    assert!(all(ask(&world, "tv.example", "/a")).contains("edgecloud; hit"));
    assert!(world.origin_rests());
}

#[test]
fn a_publisher_purges_its_own_and_nothing_else() {
    let disk = tempfile::NamedTempFile::new().expect("a file");
    disk.as_file().set_len(4 << 20).expect("its length");
    let (world, photos) = world(&format!("disk = {:?}", disk.path()));
    fill(&world, &photos);
    let plain = format!(
        "POST /.well-known/edgecloud/purge HTTP/1.1\r\nHost: tv.example\r\nConnection: close\r\n\
         Authorization: Bearer {TOKEN}\r\nContent-Length: 8\r\n\r\ntag news"
    );
    assert!(
        all(world.send(&plain)).starts_with("HTTP/1.1 403"),
        "without TLS"
    );
    for (token, orders, status) in [
        ("", "tag news", 401),
        (&TOKEN[1..], "tag news", 401),
        (TOKEN, "everything", 422),
        (TOKEN, "", 422),
        (TOKEN, "url http://photos.example/a", 403),
        (TOKEN, "prefix http://", 403),
        (TOKEN, "prefix http://tv.example", 403),
        (TOKEN, "prefix http://tv.example.evil/", 403),
        (TOKEN, "url http://tv.example@photos.example/a", 403),
    ] {
        let said = purge(&world, "tv.example", token, orders);
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status}")),
            "{orders}: {said}"
        );
    }
    assert!(all(ask(&world, "tv.example", "/a")).contains("edgecloud; hit"));
    // At another publisher's site it is no purge but a request, and goes to that one's origin.
    let said = std::thread::scope(|scope| {
        scope.spawn(|| {
            answer(
                &photos,
                "HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            )
        });
        purge(&world, "photos.example", TOKEN, "tag news")
    });
    assert!(said.starts_with("HTTP/1.1 404"), "{said}");
    let said = purge(&world, "www.tv.example", TOKEN, "tag news");
    assert!(said.contains("purged; 1 addresses"), "{said}");
    assert!(all(ask(&world, "photos.example", "/a")).contains("edgecloud; hit"));
    let client = ask(&world, "tv.example", "/a");
    world.answer(FRESH);
    assert!(
        all(client).contains("fwd=uri-miss"),
        "it is gone, from the disk as well"
    );
}
