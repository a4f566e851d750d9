//! Answers that still hold. No clock: whoever asks says what time it is.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;

use super::message::{Question, Reply};

/// Answers that are kept: what some hundred domains and some thousand clients ask again and again.
/// One has some hundred bytes, seldom some thousand.
pub(super) const ANSWERS_MAX: usize = 8192;
/// An answer that holds shorter than this is kept so long, or its name's owner decides how often
/// this host asks.
const TTL_MIN: Duration = Duration::from_secs(2);
/// One that holds longer is asked for again then: names move, and owners err.
pub(super) const TTL_MAX: Duration = Duration::from_secs(3600);
/// The same for what is not there.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(60);

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Cache {
    answers: HashMap<Question, Kept>,
    /// By when they end.
    ends: BTreeSet<(Instant, Question)>,
}

#[derive(Debug)]
struct Kept {
    reply: Reply,
    taught: bool,
    until: Instant,
}

impl Cache {
    /// An answer that holds, with what is left of its time. `taught`: only one whose addresses the
    /// switch knows.
    pub(super) fn get(&self, question: &Question, taught: bool, now: Instant) -> Option<Reply> {
        let kept = self.answers.get(question)?;
        let left = kept.until.checked_duration_since(now)?;
        if left.is_zero() || taught && !kept.taught {
            return None;
        }
        let mut reply = kept.reply.clone();
        // At least a second: 0 would be asked again at once.
        reply.limit_ttl(left.max(Duration::from_secs(1)));
        Some(reply)
    }

    /// Keeps an answer as long as it says, within bounds. What does not say how long is not kept.
    pub(super) fn put(&mut self, question: Question, reply: Reply, taught: bool, now: Instant) {
        let keeps = matches!(reply.code, ResponseCode::NoError | ResponseCode::NXDomain);
        let Some(ttl) = reply.ttl().filter(|_| keeps) else {
            return;
        };
        let most = match reply.authorities.is_empty() {
            true => TTL_MAX,
            false => NEGATIVE_TTL_MAX,
        };
        let until = now + ttl.clamp(TTL_MIN, most);
        self.forget(&question);
        if self.answers.len() >= ANSWERS_MAX
            && let Some((_, soonest)) = self.ends.pop_first()
        {
            self.answers.remove(&soonest);
        }
        self.ends.insert((until, question.clone()));
        let kept = Kept {
            reply,
            taught,
            until,
        };
        self.answers.insert(question, kept);
    }

    /// Forgets an answer.
    pub(super) fn forget(&mut self, question: &Question) {
        if let Some(kept) = self.answers.remove(question) {
            self.ends.remove(&(kept.until, question.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::{Name, RecordType};

    use super::super::message::of_address;
    use super::*;

    fn question(name: &str) -> Question {
        Question {
            name: Name::from_ascii(name).unwrap(),
            kind: RecordType::A,
        }
    }

    fn reply(seconds: u64) -> Reply {
        let name = Name::from_ascii("www.photos.example.").unwrap();
        let ttl = Duration::from_secs(seconds);
        Reply {
            answers: vec![of_address(&name, [203, 0, 113, 7].into(), ttl)],
            ..Reply::default()
        }
    }

    #[test]
    fn an_answer_is_kept_as_long_as_it_says_within_bounds() {
        let start = Instant::now();
        let left = |ttl: u64, after: u64| {
            let mut cache = Cache::default();
            cache.put(question("a."), reply(ttl), true, start);
            let found = cache.get(&question("a."), true, start + Duration::from_secs(after));
            found.map(|reply| reply.answers[0].ttl)
        };
        assert_eq!(left(60, 0), Some(60));
        assert_eq!(left(60, 50), Some(10));
        assert_eq!(left(60, 60), None);
        assert_eq!(left(0, 1), Some(0));
        assert_eq!(left(0, 2), None);
        assert_eq!(left(1 << 30, 3599), Some(1));
        assert_eq!(left(1 << 30, 3600), None);
    }

    #[test]
    fn what_the_switch_does_not_know_is_not_told_to_those_who_need_it_there() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.put(question("a."), reply(60), false, now);
        assert!(cache.get(&question("a."), true, now).is_none());
        assert!(cache.get(&question("a."), false, now).is_some());
        cache.forget(&question("a."));
        assert!(cache.answers.is_empty() && cache.ends.is_empty());
    }

    #[test]
    fn a_full_cache_forgets_what_ends_soonest() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let name = |n: usize| question(&format!("n{n}.example."));
        for n in 0..=ANSWERS_MAX {
            cache.put(name(n), reply(10 + n as u64 % 1000), true, now);
        }
        assert_eq!(cache.answers.len(), ANSWERS_MAX);
        assert_eq!(cache.ends.len(), ANSWERS_MAX);
        assert!(cache.get(&name(0), true, now).is_none());
        assert!(cache.get(&name(ANSWERS_MAX), true, now).is_some());
        // What failed is not kept at all.
        cache.put(name(5), Reply::code(ResponseCode::ServFail), true, now);
        assert!(cache.get(&name(5), true, now).is_some());
    }
}
