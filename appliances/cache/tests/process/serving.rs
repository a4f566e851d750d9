//! What is stored and served: collapsing, tiers, purges, prefetching.

use std::io::Write;

use super::world::{FRESH, World, all, exactly, head};

#[test]
fn joiners_read_what_has_arrived_while_one_request_is_under_way() {
    let world = World::start();
    let mut first = world.ask("/live", "");
    let (mut origin, _) = world.asked();
    let half = FRESH.len() - 5;
    origin.write_all(&FRESH.as_bytes()[..half]).expect("half");
    assert!(head(&mut first).contains("fwd=uri-miss; stored"));
    assert_eq!(exactly(&mut first, 5), "01234");
    let mut joiners: Vec<_> = (0..20).map(|_| world.ask("/live", "")).collect();
    for joiner in &mut joiners {
        assert!(head(joiner).starts_with("http/1.1 200"));
        assert_eq!(exactly(joiner, 5), "01234", "before the rest has come");
    }
    let mut range = world.ask("/live", "Range: bytes=3-6\r\n");
    assert!(head(&mut range).contains("content-range: bytes 3-6/10"));
    assert!(world.origin_rests());
    origin.write_all(b"56789").expect("the rest");
    for reader in joiners.into_iter().chain([first]) {
        assert_eq!(all(reader), "56789");
    }
    assert_eq!(all(range), "3456");
}

#[test]
fn a_crowd_waits_for_one_head() {
    let world = World::start();
    let first = world.ask("/crowd", "");
    let (mut origin, _) = world.asked();
    let crowd: Vec<_> = (0..20).map(|_| world.ask("/crowd", "")).collect();
    origin.write_all(FRESH.as_bytes()).expect("an answer");
    for client in crowd.into_iter().chain([first]) {
        assert!(all(client).ends_with("0123456789"));
    }
    assert!(world.origin_rests());
}

#[test]
fn an_origin_that_is_gone_is_outlived_where_allowed() {
    let world = World::start();
    let check = |path: &str, directives: &str, wanted: &str| {
        let client = world.ask(path, "");
        world.answer(&format!(
            "HTTP/1.1 200 OK\r\nAge: 50\r\nCache-Control: {directives}\r\nETag: \"1\"\r\n\
             Connection: close\r\nContent-Length: 2\r\n\r\nok"
        ));
        all(client);
        let again = world.ask(path, "");
        let (_, asked) = world.asked();
        assert!(asked.contains("if-none-match: \"1\""), "{asked}");
        let answer = all(again);
        assert!(answer.starts_with(wanted), "{directives}: {answer}");
    };
    check("/may", "max-age=10", "HTTP/1.1 200");
    check("/must", "max-age=10, must-revalidate", "HTTP/1.1 502");
}

/// An answer with a tag.
fn tagged(tag: &str) -> String {
    FRESH.replace("ETag", &format!("Cache-Tag: {tag}\r\nETag"))
}

#[test]
fn a_disk_outlasts_a_kill_and_what_was_purged_stays_away() {
    let disk = tempfile::NamedTempFile::new().expect("a file");
    disk.as_file().set_len(4 << 20).expect("its length");
    let settings = format!("disk = {:?}", disk.path());
    let mut world = World::start_with(&settings);
    for (path, tag) in [("/a", "one"), ("/b", "two"), ("/c", "one"), ("/d/e", "two")] {
        let client = world.ask(path, "");
        world.answer(&tagged(tag));
        assert!(all(client).ends_with("0123456789"));
    }
    for (orders, wanted) in [
        ("tag one", "200"),
        ("prefix http://a.example/d/", "200"),
        ("everything", "400"),
    ] {
        let said = world.order("/purge", orders);
        assert!(said.starts_with(&format!("HTTP/1.1 {wanted}")), "{said}");
    }
    for _ in 0..2 {
        let hit = all(world.ask("/b", ""));
        assert!(
            hit.contains("edgecloud; hit") && hit.ends_with("0123456789"),
            "{hit}"
        );
        let part = all(world.ask("/b", "Range: bytes=2-4\r\n"));
        assert!(
            part.starts_with("HTTP/1.1 206") && part.ends_with("234"),
            "{part}"
        );
        for path in ["/a", "/c", "/d/e"] {
            let client = world.ask(path, "");
            world.answer(&FRESH.replace("max-age=60", "no-store"));
            assert!(all(client).contains("fwd=uri-miss"), "{path}");
        }
        assert!(world.origin_rests());
        world = world.restart(&settings);
    }
}

#[test]
fn what_is_under_way_when_it_is_purged_is_not_kept() {
    let world = World::start();
    let first = world.ask("/a", "");
    let (mut origin, _) = world.asked();
    world.order("/purge", "url http://a.example/a");
    origin.write_all(FRESH.as_bytes()).expect("an answer");
    assert!(all(first).contains("detail=purged"));
    let second = world.ask("/a", "");
    world.answer(FRESH);
    assert!(all(second).contains("fwd=uri-miss; stored"));
}

/// Stored, but to be asked for each time.
fn to_be_confirmed() -> String {
    FRESH.replace("max-age=60", "no-cache")
}

const CONFIRMED: &str =
    "HTTP/1.1 304 Not Modified\r\nConnection: close\r\nCache-Control: max-age=60\r\n\r\n";

#[test]
fn what_is_purged_while_it_is_confirmed_is_not_kept() {
    let world = World::start();
    let first = world.ask("/a", "");
    world.answer(&to_be_confirmed());
    all(first);
    let second = world.ask("/a", "");
    let (mut origin, asked) = world.asked();
    assert!(asked.contains("if-none-match: \"1\""), "{asked}");
    world.order("/purge", "url http://a.example/a");
    origin.write_all(CONFIRMED.as_bytes()).expect("an answer");
    let answer = all(second);
    assert!(
        answer.contains("detail=purged") && answer.ends_with("0123456789"),
        "{answer}"
    );
    let third = world.ask("/a", "");
    let asked = world.answer(FRESH);
    assert!(!asked.contains("if-none-match"), "{asked}");
    all(third);
}

/// The origin says of what is stored that it is no longer for everybody.
#[test]
fn what_may_not_be_stored_any_more_is_forgotten() {
    let world = World::start();
    for (method, directive) in [
        ("GET", "no-store"),
        ("GET", "private, max-age=60"),
        ("HEAD", "no-store"),
        ("HEAD", "private, max-age=60"),
    ] {
        let path = format!("/{method}/{}", &directive[..2]);
        let client = world.ask(&path, "");
        world.answer(&to_be_confirmed());
        all(client);
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        let client = world.send(&request);
        let answer = match method {
            "GET" => CONFIRMED.replace("max-age=60", directive),
            _ => FRESH
                .replace("max-age=60", directive)
                .replace("0123456789", ""),
        };
        world.answer(&answer);
        let answer = all(client);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(method == "HEAD" || answer.ends_with("0123456789"));
        let again = world.ask(&path, "");
        let asked = world.answer(FRESH);
        assert!(!asked.contains("if-none-match"), "{path}: {asked}");
        assert!(all(again).contains("fwd=uri-miss"), "{path}");
    }
}

/// Neither its conditions nor its range are in the key.
#[test]
fn what_one_request_gets_by_its_conditions_is_for_nobody_else() {
    let world = World::start();
    for (status, fields) in [
        ("412 Precondition Failed", "If-Match: \"2\"\r\n"),
        ("416 Range Not Satisfiable", "Range: bytes=100-\r\n"),
    ] {
        let client = world.ask("/a", fields);
        world.answer(&FRESH.replace("200 OK", status));
        assert!(all(client).contains("detail=status"));
        let other = world.ask("/a", "");
        world.answer(&FRESH.replace("max-age=60", "no-store"));
        assert!(all(other).starts_with("HTTP/1.1 200"), "{status}");
    }
}

#[test]
fn what_is_prefetched_is_there_and_the_page_shows_it() {
    let world = World::start();
    let said = world.order(
        "/prefetch",
        "http://a.example/premiere\nhttp://A.example/<b>",
    );
    assert!(said.starts_with("HTTP/1.1 400"), "{said}");
    let said = world.order(
        "/prefetch",
        "http://a.example/premiere\nhttp://A.example/second",
    );
    assert!(said.starts_with("HTTP/1.1 202"), "{said}");
    assert!(world.answer(FRESH).starts_with("get /premiere"));
    assert!(world.answer(FRESH).starts_with("get /second"));
    assert!(all(world.ask("/premiere", "")).contains("edgecloud; hit"));
    let page = world.order("/", "");
    assert!(page.contains("http://a.example/premiere"), "{page}");
    assert!(page.contains("33.3 %</b> of 3 requests"), "{page}");
}

#[test]
fn that_nothing_is_there_is_kept_as_long_as_told() {
    let world = World::start_with("negative-seconds = 60");
    let missing = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
    let client = world.ask("/missing", "");
    world.answer(missing);
    assert!(all(client).starts_with("HTTP/1.1 404"));
    let again = all(world.ask("/missing", ""));
    assert!(
        again.starts_with("HTTP/1.1 404") && again.contains("edgecloud; hit"),
        "{again}"
    );
    assert!(world.origin_rests());
}
