//! From what a switch holds to what it should hold.

use openflow::Message;

use super::{Session, SessionError};
use crate::pipeline::{GENERATION, Installed, difference};

/// How many flows that are not ours are named in the log, before they go.
const NAMED_MAX: usize = 10;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Flows added, changed or deleted.
    pub flow_mods: usize,
    /// Groups likewise.
    pub group_mods: usize,
    /// Meters likewise.
    pub meter_mods: usize,
    /// Flows among them that were nobody's of ours, and went.
    pub foreign: usize,
}

impl Report {
    /// All messages.
    pub fn sent(&self) -> usize {
        self.flow_mods + self.group_mods + self.meter_mods
    }
}

/// Makes the switch hold what is desired: dump, difference, one bundle; nothing if nothing changed.
/// The bridge is the daemon's alone: flows of others go too, and the log names them.
///
/// # Errors
/// On a refusal, what was installed is in place. On the session's errors: connect and do it again.
pub async fn reconcile(session: &mut Session, desired: &Installed) -> Result<Report, SessionError> {
    let installed = dump(session).await?;
    change(session, &installed, desired).await
}

/// What the switch holds.
///
/// # Errors
/// The session's.
pub async fn dump(session: &mut Session) -> Result<Installed, SessionError> {
    let flows = session.flows().await?;
    let groups = session.groups().await?;
    Ok(Installed::new(flows, groups, session.meters().await?))
}

/// Leads from what is known to be installed to what is desired.
///
/// Meters go before the bundle and after it, since Open vSwitch's bundles take none; they are put
/// back if the bundle is refused.
///
/// # Errors
/// As for [`reconcile`].
pub async fn change(
    session: &mut Session,
    installed: &Installed,
    desired: &Installed,
) -> Result<Report, SessionError> {
    let mut changes = difference(installed, desired).messages;
    let count = |of: fn(&Message) -> bool| changes.iter().filter(|message| of(message)).count();
    let report = Report {
        flow_mods: count(|message| matches!(message, Message::FlowMod(_))),
        group_mods: count(|message| matches!(message, Message::GroupMod(_))),
        meter_mods: count(|message| matches!(message, Message::MeterMod(_))),
        foreign: foreign(installed),
    };
    let is_meter = |message: &Message| matches!(message, Message::MeterMod(_));
    let first = changes
        .iter()
        .take_while(|message| is_meter(message))
        .count();
    let rest = changes.split_off(first);
    let meters = changes;
    let (gone, bundled): (Vec<Message>, Vec<Message>) = rest.into_iter().partition(is_meter);
    // Deletions of meters are last in the order, so with nothing else to do they are first as well.
    if !meters.is_empty()
        && let Err(refusal) = session.each(&meters).await
    {
        restore_meters(session, installed).await?;
        return Err(refusal);
    }
    if !bundled.is_empty()
        && let Err(refusal) = session.bundle(bundled).await
    {
        restore_meters(session, installed).await?;
        return Err(refusal);
    }
    if !gone.is_empty() {
        session.each(&gone).await?;
    }
    Ok(report)
}

async fn restore_meters(session: &mut Session, installed: &Installed) -> Result<(), SessionError> {
    let only = |meters| Installed::new([], [], meters);
    let now = only(session.meters().await?);
    let before = only(installed.meters.values().cloned().collect());
    session.each(&difference(&now, &before).messages).await
}

/// How many flows have cookies of no generation of this daemon; the log has the first.
fn foreign(installed: &Installed) -> usize {
    let is_ours = |cookie: u64| (1..=u64::from(GENERATION)).contains(&(cookie >> 48));
    let flows = installed.flows.values();
    let foreign: Vec<_> = flows.filter(|flow| !is_ours(flow.cookie)).collect();
    for flow in foreign.iter().take(NAMED_MAX) {
        tracing::warn!(%flow, "a flow in the bridge that is nobody's of ours goes");
    }
    if !foreign.is_empty() {
        let count = foreign.len();
        tracing::warn!(count, "flows of others went; use a bridge of your own");
    }
    foreign.len()
}
