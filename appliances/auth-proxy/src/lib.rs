//! A hotspot's captive portal at the edge: who may use the network, as pure decisions under a shell.
//!
//! | decides | by |
//! |---|---|
//! | [`session`], [`table`] | what is left of a pass, who begins, who is displaced, whose time is over |
//! | [`token`] | publishers' tokens: RFC 7519 with Ed25519 (RFC 8037) |
//! | [`voucher`], [`subscriber`] | codes on paper, names with passwords |
//! | [`attempts`] | how often somebody may fail |
//! | [`csrf`] | forms that only our pages make |
//! | [`probe`], [`language`], [`page`] | what systems and people get to see |
//! | [`free`] | names that are free for a client, and where they are |
//! | [`radius`] | RFC 2865, 2866 and 5176 |
//!
//! None of these has a clock, does I/O or draws randomness, but [`radius`], whose packets alone are
//! pure. Around them [`hotspot`] keeps memory, disk ([`store`]) and the controller ([`gate`]) together,
//! and [`portal`] and [`operator`] are the services; [`onward`] carries connections to free services.
//!
//! *The way out of the path.* Whoever is let in is told to the host's controller, which lets exactly this
//! client through the switch, at its rate and until this appliance says that it is over, or seems to be
//! gone ([`limits::ADMISSION_GRACE_SECONDS`]). It sees no more of the client's traffic, and asks the
//! controller what was carried.
//!
//! *Threats.* Clients guess (attempts are bounded), forge and replay tokens, flood (what costs nothing
//! is checked first, tables are bounded, [`limits`]), and send each other here with forms of their own
//! making. Whatever fails leaves a client outside.

pub mod attempts;
pub mod clock;
pub mod csrf;
pub mod free;
pub mod gate;
pub mod hotspot;
pub mod language;
pub mod limits;
pub mod onward;
pub mod operator;
pub mod page;
pub mod portal;
pub mod probe;
pub mod radius;
pub mod refusal;
mod service;
pub mod session;
pub mod settings;
pub mod store;
pub mod subscriber;
pub mod table;
pub mod token;
pub mod voucher;

pub use service::start;
pub use settings::Own;
