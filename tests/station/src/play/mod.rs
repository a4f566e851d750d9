//! The story.

mod arrival;
mod cheats;
mod crashes;
mod elsewhere;
mod money;
mod sessions;
mod tunnel;

use anyhow::{Context as _, Result};

use crate::Station;

/// What happens, step by step.
type Step = fn(&mut Station<'_>) -> Result<String>;

const STEPS: [(&str, Step); 15] = [
    (
        "a device that arrives is told where the portal is",
        arrival::told_by_dhcp,
    ),
    (
        "who is not let in finds the portal, and nothing else",
        arrival::strangers,
    ),
    (
        "a train arrives, and everybody chats without logging in",
        arrival::everybody_chats,
    ),
    (
        "who names the chat to somebody else is carried to the chat, at its publisher's expense",
        elsewhere::carried,
    ),
    (
        "some log in by vouchers, accounts and tokens, all at once",
        sessions::logins,
    ),
    (
        "what a client carried is counted for it, to the byte",
        sessions::counted,
    ),
    ("who cheats stays outside", cheats::all),
    (
        "guessing is bounded, and keeps nobody else from logging in",
        cheats::guesses,
    ),
    (
        "a tunnel through names starves, and its owner still chats",
        tunnel::starves,
    ),
    ("quotas run out, and who logs out is out", sessions::quotas),
    (
        "the operator's RADIUS server changes a session and ends it",
        sessions::by_radius,
    ),
    (
        "the daemon is killed: nobody notices, and it knows everybody",
        crashes::daemon,
    ),
    (
        "the RADIUS server hears of sessions while they go on",
        sessions::in_between,
    ),
    (
        "the portal is killed: sessions are there again, and exact",
        crashes::portal,
    ),
    (
        "the free service's price changes: it ends at once, and comes again when that is paid",
        money::price,
    ),
];

/// Plays it; `tell` hears of each step, and how long it took.
///
/// # Errors
/// The step that did not go as it must.
pub fn play(station: &mut Station<'_>, tell: impl Fn(&str)) -> Result<()> {
    for (what, step) in STEPS {
        let begun = std::time::Instant::now();
        let told = step(station).context(what)?;
        let seconds = begun.elapsed().as_secs_f64();
        let told = if told.is_empty() {
            told
        } else {
            format!(": {told}")
        };
        tell(&format!("{what}{told} ({seconds:.1} s)"));
    }
    Ok(())
}
