//! The function that fuzzers call.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType};

use super::Filter;
use super::message::{
    ALIASES_MAX, ANSWERS_MAX, DATAGRAM_BYTES_MAX, Heard, Question, Relevant, Reply, address, hear,
    of_address, read,
};

/// Reads bytes as a domain's question, and as a server's answer to the question that is in it, and
/// checks what must hold of any bytes: no panic; what is answered is a response that can be read and
/// fits; no address is passed on that the filter refuses.
///
/// # Panics
/// Where that does not hold, which is a fault of this crate or of the one that reads DNS.
pub fn fuzz(bytes: &[u8]) {
    answer(bytes);
    take(bytes);
}

fn answer(bytes: &[u8]) {
    let asked = match read(bytes) {
        None => return,
        Some(Err(refusal)) => return is_response(&refusal, bytes),
        Some(Ok(asked)) => asked,
    };
    let reply = match asked.question() {
        Err(code) => Reply::code(code),
        Ok(question) => {
            let addresses = (0..100).map(|last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)));
            let record = |address| of_address(&question.name, address, Duration::from_secs(5));
            Reply {
                answers: addresses.map(record).collect(),
                ..Reply::default()
            }
        }
    };
    for is_datagram in [true, false] {
        let answer = asked.answer(&reply, is_datagram);
        assert!(!is_datagram || answer.len() <= DATAGRAM_BYTES_MAX.into());
        is_response(&answer, bytes);
    }
}

fn is_response(answer: &[u8], question: &[u8]) {
    let read = Message::from_vec(answer).expect("what is answered can be read");
    assert_eq!(read.metadata.message_type, MessageType::Response);
    assert_eq!(answer.first_chunk::<2>(), question.first_chunk::<2>());
}

fn take(bytes: &[u8]) {
    let Ok(message) = Message::from_vec(bytes) else {
        return;
    };
    let [query] = &message.queries[..] else {
        return;
    };
    let (name, kind) = (&query.name, query.query_type);
    let Heard::Answer(heard) = hear(bytes, message.metadata.id, name, kind) else {
        return;
    };
    let filter = Filter::default();
    let name = name.to_lowercase();
    let Relevant {
        reply, addresses, ..
    } = Relevant::of(*heard, &Question { name, kind }, &filter);
    assert!(reply.answers.len() <= ANSWERS_MAX + ALIASES_MAX);
    assert!(!addresses.iter().any(|address| filter.refuses(*address)));
    let told: Vec<IpAddr> = reply.answers.iter().filter_map(address).collect();
    assert_eq!(told, addresses, "what is told is what the switch learns");
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{OpCode, Query};
    use hickory_proto::rr::rdata::CNAME;
    use hickory_proto::rr::{Name, RData, Record, RecordType};

    use super::super::message::request;
    use super::*;

    /// A question, and an answer with an alias and two addresses, of which one is refused.
    fn seeds() -> [Vec<u8>; 2] {
        let name: Name = "www.photos.example.".parse().expect("a name");
        let alias: Name = "edge.photos.example.".parse().expect("a name");
        let mut answer = Message::response(7, OpCode::Query);
        answer.add_query(Query::query(name.clone(), RecordType::A));
        let ttl = Duration::from_secs(60);
        let target = RData::CNAME(CNAME(alias.clone()));
        answer.answers = vec![
            Record::from_rdata(name.clone(), 60, target),
            of_address(&alias, Ipv4Addr::new(203, 0, 113, 7).into(), ttl),
            of_address(&alias, Ipv4Addr::new(10, 0, 1, 1).into(), ttl),
        ];
        let answer = answer.to_vec().expect("it can be written");
        [request(7, &name, RecordType::A), answer]
    }

    #[test]
    fn messages_that_are_spoilt_do_no_harm() {
        let mut random = fastrand::Rng::with_seed(1);
        for seed in seeds() {
            fuzz(&seed);
            for _ in 0..20_000 {
                let mut bytes = seed.clone();
                for _ in 0..random.usize(1..6) {
                    let place = random.usize(..bytes.len());
                    bytes[place] = random.u8(..);
                }
                bytes.truncate(random.usize(bytes.len() / 2..=bytes.len()));
                fuzz(&bytes);
            }
        }
    }
}
