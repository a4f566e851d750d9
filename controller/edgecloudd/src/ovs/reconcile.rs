//! From what a switch holds to what it should hold.

use openflow::{Flow, Message};

use super::{Session, SessionError};
use crate::pipeline::{GENERATION, Installed, difference};

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Flows added, changed or deleted.
    pub flow_mods: usize,
    /// Groups likewise.
    pub group_mods: usize,
    /// Meters likewise.
    pub meter_mods: usize,
    /// Flows that are not ours, with cookies of no generation; they were left alone.
    pub foreign: usize,
}

/// Why the switch is not as desired.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The session, or a refusal.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Somebody else's flow is where one of ours must be.
    #[error("a flow that is not ours is in the way: {0}; delete it with ovs-ofctl")]
    Displaced(String),
}

/// Makes the switch hold what is desired: dump, difference, one bundle; nothing if nothing changed.
/// Flows whose cookies are of no generation up to [`GENERATION`] are left alone and counted; groups
/// and meters have no cookies, and the bridge's are all ours.
///
/// Meters go before the bundle and after it, since Open vSwitch's bundles take none; they are put
/// back if the bundle is refused.
///
/// # Errors
/// On a refusal, what was installed is in place. On the session's errors: connect and do it again.
pub async fn reconcile(
    session: &mut Session,
    desired: &Installed,
) -> Result<Report, ReconcileError> {
    let flows = session.flows().await?;
    let (ours, foreign): (Vec<Flow>, Vec<Flow>) =
        flows.into_iter().partition(|flow| is_ours(flow.cookie));
    if let Some(flow) = foreign
        .iter()
        .find(|flow| desired.flows.contains_key(&flow.key))
    {
        return Err(ReconcileError::Displaced(flow.to_string()));
    }
    let installed = Installed::new(ours, session.groups().await?, session.meters().await?);
    let changes = difference(&installed, desired).messages;
    let count = |of: fn(&Message) -> bool| changes.iter().filter(|message| of(message)).count();
    let report = Report {
        flow_mods: count(|message| matches!(message, Message::FlowMod(_))),
        group_mods: count(|message| matches!(message, Message::GroupMod(_))),
        meter_mods: count(|message| matches!(message, Message::MeterMod(_))),
        foreign: foreign.len(),
    };
    let is_meter = |message: &Message| matches!(message, Message::MeterMod(_));
    let first = changes
        .iter()
        .take_while(|message| is_meter(message))
        .count();
    let (meters, rest) = changes.split_at(first);
    let (gone, bundled): (Vec<Message>, Vec<Message>) = rest.iter().cloned().partition(is_meter);
    // Deletions of meters are last in the order, so with nothing else to do they are first as well.
    if !meters.is_empty()
        && let Err(refusal) = session.each(meters).await
    {
        restore_meters(session, &installed).await?;
        return Err(refusal.into());
    }
    if !bundled.is_empty()
        && let Err(refusal) = session.bundle(&bundled).await
    {
        restore_meters(session, &installed).await?;
        return Err(refusal.into());
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

/// Whether some generation of this daemon put it there.
fn is_ours(cookie: u64) -> bool {
    (1..=u64::from(GENERATION)).contains(&(cookie >> 48))
}
