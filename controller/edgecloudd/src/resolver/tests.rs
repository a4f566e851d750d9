//! The resolver between a server that says what the test wants and a daemon that writes down what it
//! is told.

use std::net::Ipv4Addr;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, CNAME};
use hickory_proto::rr::{self, RData, Record};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use super::upstream::framed;
use super::*;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
const DOMAIN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 7));

/// A server, whose answers a function makes of questions; several datagrams for one question are
/// told one after the other.
async fn server<F>(answers: F) -> SocketAddr
where
    F: Fn(&Message, bool) -> Vec<Message> + Send + Sync + 'static,
{
    let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = datagrams.local_addr().unwrap();
    let streams = TcpListener::bind(address).await.unwrap();
    let answers = Arc::new(answers);
    let of_stream = Arc::clone(&answers);
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let (length, from) = datagrams.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_vec(&buffer[..length]).unwrap();
            for answer in answers(&question, true) {
                let bytes = answer.to_vec().unwrap();
                datagrams.send_to(&bytes, from).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = streams.accept().await.unwrap();
            let length = stream.read_u16().await.unwrap();
            let mut buffer = vec![0; length.into()];
            stream.read_exact(&mut buffer).await.unwrap();
            let question = Message::from_vec(&buffer).unwrap();
            for answer in of_stream(&question, false) {
                let bytes = framed(&answer.to_vec().unwrap());
                stream.write_all(&bytes).await.unwrap();
            }
        }
    });
    address
}

/// A message that answers a question with records.
fn answering(question: &Message, records: Vec<Record>) -> Message {
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    answer.queries.clone_from(&question.queries);
    answer.answers = records;
    answer
}

fn name(text: &str) -> rr::Name {
    rr::Name::from_ascii(text).unwrap()
}

fn a(owner: &str, address: [u8; 4]) -> Record {
    Record::from_rdata(name(owner), 300, RData::A(A(address.into())))
}

/// Tells every question for A the address, under the name that is asked.
fn always(address: [u8; 4]) -> impl Fn(&Message, bool) -> Vec<Message> + Send + Sync {
    move |question, _| {
        let asked = &question.queries[0];
        let data = RData::A(A(address.into()));
        let record = Record::from_rdata(asked.name.clone(), 300, data);
        let records = (asked.query_type == RecordType::A).then_some(record);
        vec![answering(question, records.into_iter().collect())]
    }
}

/// A resolver that asks one server, with what a test needs of the daemon's side.
struct Site {
    resolver: Arc<Resolver>,
    /// Held for its end only.
    interest: watch::Sender<Interest>,
    learned: mpsc::Receiver<Learned>,
}

impl Site {
    async fn start(upstream: SocketAddr, interest: Interest) -> Site {
        let (interest, changes) = watch::channel(interest);
        let (sender, learned) = mpsc::channel(16);
        let range = |text: &str| vec![text.parse().unwrap()];
        let settings = Settings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            upstream: vec![upstream],
            mixes_letters: true,
            clients: range("10.0.0.0/24"),
            filter: Filter::default(),
        };
        let resolver = Resolver::start(settings, changes, sender, vec![])
            .await
            .unwrap();
        Site {
            resolver,
            interest,
            learned,
        }
    }

    /// What asks, and what the daemon hears.
    fn split(self) -> (Site, mpsc::Receiver<Learned>) {
        let learned = mpsc::channel(1).1;
        (Site { learned, ..self }, self.learned)
    }

    async fn ask(&self, text: &str, kind: RecordType) -> Message {
        let mut question = Message::new(77, MessageType::Query, OpCode::Query);
        question.add_query(Query::query(name(text), kind));
        self.respond(&question, Asker::Domain).await
    }

    async fn respond(&self, question: &Message, asker: Asker) -> Message {
        let bytes = question.to_vec().unwrap();
        let answer = self.resolver.respond(&bytes, asker, true).await.unwrap();
        let answer = Message::from_vec(&answer).unwrap();
        assert_eq!(answer.metadata.id, question.metadata.id);
        assert_eq!(answer.metadata.message_type, MessageType::Response);
        assert!(answer.metadata.recursion_available);
        answer
    }
}

fn addresses(answer: &Message) -> Vec<String> {
    let all = answer.answers.iter().map(|record| &record.data);
    all.map(ToString::to_string).collect()
}

fn patterns(texts: &[&str]) -> Interest {
    Interest {
        patterns: texts.iter().map(|text| text.parse().unwrap()).collect(),
        ..Interest::default()
    }
}

#[tokio::test]
async fn a_name_that_rules_speak_of_is_told_once_the_switch_knows_it() {
    let upstream = server(always([203, 0, 113, 7])).await;
    let site = Site::start(upstream, patterns(&["*.photos.example"])).await;
    let (asking, mut learned) = site.split();
    let order = Arc::new(Mutex::new(vec![]));
    let daemon = Arc::clone(&order);
    let told = tokio::spawn(async move {
        let news = learned.recv().await.unwrap();
        assert_eq!(news.name.to_string(), "api.photos.example");
        lock(&daemon).push("installed");
        news.installed.unwrap().send(()).unwrap();
        (news.current, learned)
    });
    let answer = asking.ask("API.photos.example.", RecordType::A).await;
    lock(&order).push("answered");
    assert_eq!(addresses(&answer), ["203.0.113.7"]);
    // In the letters in which it was asked.
    assert_eq!(answer.queries[0].name.to_ascii(), "API.photos.example.");
    assert_eq!(answer.answers[0].name.to_ascii(), "API.photos.example.");
    let (current, mut learned) = told.await.unwrap();
    assert_eq!(current, ["203.0.113.7".parse().unwrap()].into());
    assert_eq!(*lock(&order), ["installed", "answered"]);

    // It is kept, and what no rule speaks of teaches nothing.
    for text in ["api.photos.example.", "photos.example.", "other.example."] {
        let answer = asking.ask(text, RecordType::A).await;
        assert_eq!(addresses(&answer), ["203.0.113.7"], "{text}");
    }
    assert!(learned.try_recv().is_err());
}

#[tokio::test]
async fn what_the_switch_does_not_know_is_of_no_use_to_a_domain_alone() {
    let upstream = server(always([203, 0, 113, 7])).await;
    let site = Site::start(upstream, patterns(&["api.photos.example"])).await;
    let (asking, mut learned) = site.split();
    let mut question = Message::new(5, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(name("api.photos.example."), RecordType::A));
    for (asker, code, count) in [
        (Asker::Domain, ResponseCode::ServFail, 0),
        (Asker::Client(CLIENT), ResponseCode::NoError, 1),
    ] {
        // The daemon could not, and drops what it would tell by.
        let refuse = async { drop(learned.recv().await.unwrap().installed) };
        let (answer, ()) = tokio::join!(asking.respond(&question, asker), refuse);
        assert_eq!(answer.metadata.response_code, code);
        assert_eq!(answer.answers.len(), count);
    }
}

#[tokio::test]
async fn names_that_are_intercepted_are_known_before_anybody_asks() {
    let upstream = server(always([203, 0, 113, 7])).await;
    let mut interest = patterns(&["www.photos.example"]);
    interest.ahead.insert("www.photos.example".parse().unwrap());
    let (site, mut learned) = Site::start(upstream, interest).await.split();
    let news = learned.recv().await.unwrap();
    assert_eq!(news.current, ["203.0.113.7".parse().unwrap()].into());
    news.installed.unwrap().send(()).unwrap();

    // Then it is served here and called from here: its address is another, and told at once.
    let own: IpAddr = "10.0.1.9".parse().unwrap();
    site.interest.send_modify(|interest| {
        let name = "www.photos.example".parse().unwrap();
        interest.ahead.clear();
        interest.served.insert(name, [own].into());
    });
    // It may be told more than once, until the switch is known to have it.
    let told = tokio::spawn(async move {
        while let Some(news) = learned.recv().await {
            // Of what it had before there may be a last word.
            let _ = news.installed.unwrap().send(());
        }
    });
    let answer = site.ask("www.photos.example.", RecordType::A).await;
    assert_eq!(addresses(&answer), ["10.0.1.9"]);
    assert!(answer.metadata.authoritative);
    let answer = site.ask("www.photos.example.", RecordType::AAAA).await;
    assert_eq!(addresses(&answer), [""; 0]);
    told.abort();
}

#[tokio::test]
async fn an_answer_is_what_belongs_to_the_question_and_may_be_told() {
    let upstream = server(|question, _| {
        let alias = |from: &str, to: &str| {
            Record::from_rdata(name(from), 300, RData::CNAME(CNAME(name(to))))
        };
        vec![answering(
            question,
            vec![
                a("beside.example.", [203, 0, 113, 66]),
                alias("www.photos.example.", "cdn.example."),
                a("cdn.example.", [192, 168, 0, 1]),
                a("cdn.example.", [203, 0, 113, 8]),
                a("cdn.example.", [127, 0, 0, 1]),
            ],
        )]
    })
    .await;
    let site = Site::start(upstream, Interest::default()).await;
    let answer = site.ask("www.photos.example.", RecordType::A).await;
    assert_eq!(addresses(&answer), ["cdn.example.", "203.0.113.8"]);
    let answer = site.ask("www.photos.example.", RecordType::HTTPS).await;
    assert_eq!(addresses(&answer), [""; 0]);
}

#[tokio::test]
async fn who_guesses_is_not_heard_and_what_is_cut_is_asked_again() {
    let upstream = server(|question, is_datagram| {
        let mut forged = answering(question, vec![a("x.example.", [203, 0, 113, 66])]);
        forged.metadata.id ^= 1;
        let mut cut = answering(question, vec![]);
        cut.metadata.truncation = true;
        let many = (0..100).map(|last| a("x.example.", [203, 0, 113, last]));
        match is_datagram {
            true => vec![forged, cut],
            false => vec![answering(question, many.collect())],
        }
    })
    .await;
    let site = Site::start(upstream, Interest::default()).await;
    // It does not fit into a datagram here either.
    let answer = site.ask("x.example.", RecordType::A).await;
    assert!(answer.metadata.truncation && answer.answers.is_empty());
    let mut question = Message::new(9, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(name("x.example."), RecordType::A));
    let asked = framed(&question.to_vec().unwrap());
    let bytes = site
        .resolver
        .respond(&asked[2..], Asker::Client(CLIENT), false)
        .await;
    assert_eq!(
        Message::from_vec(&bytes.unwrap()).unwrap().answers.len(),
        100
    );
}

#[tokio::test]
async fn a_server_that_keeps_no_letters_is_asked_over_a_stream() {
    let upstream = server(|question, is_datagram| {
        let mut answer = answering(question, vec![a("x.example.", [203, 0, 113, 9])]);
        answer.queries[0].name = answer.queries[0].name.to_lowercase();
        if is_datagram {
            answer.answers = vec![a("x.example.", [203, 0, 113, 66])];
        }
        vec![answer]
    })
    .await;
    let site = Site::start(upstream, Interest::default()).await;
    let answer = site.ask("x.example.", RecordType::A).await;
    assert_eq!(addresses(&answer), ["203.0.113.9"]);
}

#[tokio::test]
async fn what_cannot_be_answered_is_told_so_or_not_answered() {
    let upstream = server(always([203, 0, 113, 7])).await;
    let site = Site::start(upstream, Interest::default()).await;
    assert_eq!(site.resolver.asker(DOMAIN), None);
    site.interest.send_modify(|interest| {
        interest.domains.insert(DOMAIN);
    });
    assert_eq!(site.resolver.asker(DOMAIN), Some(Asker::Domain));
    let client = "10.0.0.9".parse().unwrap();
    assert_eq!(site.resolver.asker(client), Some(Asker::Client(client)));
    assert_eq!(site.resolver.asker("203.0.113.9".parse().unwrap()), None);
    for (kind, code) in [
        (RecordType::ANY, ResponseCode::NotImp),
        (RecordType::AXFR, ResponseCode::Refused),
        (RecordType::A, ResponseCode::NoError),
    ] {
        let answer = site.ask("x.example.", kind).await;
        assert_eq!(answer.metadata.response_code, code, "{kind}");
    }
    let respond = async |bytes: &[u8]| -> Option<Vec<u8>> {
        site.resolver.respond(bytes, Asker::Domain, true).await
    };
    let mut question = Message::new(9, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(name("x.example."), RecordType::A));
    let bytes = question.to_vec().unwrap();
    let code = |bytes: &[u8]| Message::from_vec(bytes).unwrap().metadata.response_code;
    // Each of its beginnings, and each with one byte spoilt: an answer, silence, but no end.
    for length in 0..bytes.len() {
        let answer = respond(&bytes[..length]).await;
        assert_eq!(answer.is_some(), length >= 12, "{length}");
        if let Some(answer) = answer {
            assert_eq!(code(&answer), ResponseCode::FormErr);
        }
    }
    for at in 2..bytes.len() {
        let mut spoilt = bytes.clone();
        spoilt[at] ^= 0xff;
        let answer = respond(&spoilt).await;
        assert!(
            answer.is_none_or(|answer| Message::from_vec(&answer).is_ok()),
            "{at}"
        );
    }
    let mut response = bytes.clone();
    response[2] |= 0x80;
    assert!(respond(&response).await.is_none());
}

#[tokio::test]
async fn the_sockets_answer_those_who_may_ask() {
    let upstream = server(always([203, 0, 113, 7])).await;
    let (_interest, changes) = watch::channel(Interest::default());
    let (sender, _learned) = mpsc::channel(16);
    let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let sockets = listen::bind(&[listen]).await.unwrap();
    let address = sockets[0].0.local_addr().unwrap();
    drop(sockets);
    let settings = Settings {
        listen: vec![address],
        upstream: vec![upstream],
        mixes_letters: false,
        clients: vec![],
        filter: Filter::default(),
    };
    let resolver = Resolver::start(settings, changes, sender, vec![])
        .await
        .unwrap();
    let mut question = Message::new(9, MessageType::Query, OpCode::Query);
    question.add_query(Query::query(name("x.example."), RecordType::A));
    let bytes = question.to_vec().unwrap();

    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&bytes, address).await.unwrap();
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer).await.unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(addresses(&answer), ["203.0.113.7"]);

    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..3 {
        stream.write_all(&framed(&bytes)).await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await.unwrap();
        let answer = Message::from_vec(&answer).unwrap();
        assert_eq!(addresses(&answer), ["203.0.113.7"]);
    }
    // One that says it has more than may be is closed.
    stream.write_all(&[0xff, 0xff]).await.unwrap();
    assert!(stream.read_u16().await.is_err());
    drop(resolver);
}

#[tokio::test]
async fn a_client_that_tunnels_is_refused_and_finds_what_is_known() {
    let upstream = server(always([203, 0, 113, 7])).await;
    let site = Site::start(upstream, Interest::default()).await;
    let ask = async |text: &str| {
        let mut question = Message::new(5, MessageType::Query, OpCode::Query);
        question.add_query(Query::query(name(text), RecordType::A));
        let answer = site.respond(&question, Asker::Client(CLIENT)).await;
        answer.metadata.response_code
    };
    let mut refused = 0;
    for number in 0..500 {
        let code = ask(&format!("payload-{number}.tunnel.example.")).await;
        refused += usize::from(code == ResponseCode::Refused);
    }
    assert!(refused > 0, "all of them were answered");
    // What is known is no upstream's business.
    assert_eq!(
        ask("payload-0.tunnel.example.").await,
        ResponseCode::NoError
    );
}
